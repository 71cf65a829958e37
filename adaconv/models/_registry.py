"""The models by name: every file of this package registers its own, and there is no other list."""

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from adaconv.models._gan import GAN
from adaconv.nn._names import unknown


@dataclass(frozen=True)
class Family:
    """Models whose names match one pattern."""

    pattern: re.Pattern[str]
    listed: tuple[str, ...]
    build: Callable[..., GAN]

    @property
    def options(self) -> list[str]:
        """Names of the options that ``build`` takes: its keyword-only parameters."""
        parameters = inspect.signature(self.build).parameters.values()
        return [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]


_FAMILIES: list[Family] = []


def register(pattern: str, *listed: str) -> Callable[[Callable[..., GAN]], Callable[..., GAN]]:
    """Register the decorated function as the builder of the models whose names match ``pattern``.

    The builder is called with the match, the image size and the width, and its own options by
    keyword.

    Args:
        pattern: regular expression that must match a whole name, in lower case.
        *listed: the names among them that :func:`names` lists.
    """

    def add(build: Callable[..., GAN]) -> Callable[..., GAN]:
        _FAMILIES.append(Family(re.compile(pattern), listed, build))
        return build

    return add


def names() -> list[str]:
    """Return the names of the models; of an unlimited family, those that were published."""
    return sorted(name for family in _FAMILIES for name in family.listed)


def create(name: str, image_size: int = 32, width: float = 1.0, **options: Any) -> GAN:
    """Build a model by name, newly initialised from PyTorch's global random state.

    Args:
        name: one of :func:`names`, or another of the family: ``adagan-KxK`` regresses from windows
            of KxK pixels, K odd, and ``adagan-n-KxK``, n from 1 to 3, in its first n blocks only.
            Upper and lower case are the same.
        image_size: height and width of the images in pixels; what a model can make differs.
        width: factor on the number of channels of all hidden layers.
        **options: the model's own options, such as ``loss``, ``setting`` and ``regressor``: the
            keyword arguments of the function that builds it, see :func:`options`.

    Returns:
        The model; ``create(**model.config)`` builds another one like it.

    Raises:
        ValueError: no model has that name, or an argument is out of range.
        TypeError: the model has no such option.

    Example:
        >>> gan = create("adagan-3x3", image_size=32, width=0.25)
        >>> gan.generator(gan.latent(2)).shape
        torch.Size([2, 3, 32, 32])
    """
    family, match = _find(name)
    for option in options:
        if option not in family.options:
            raise TypeError(f"model {name}: {unknown('option', option, family.options)}")
    return family.build(match, image_size, width, **options)


def options(name: str) -> list[str]:
    """Return the names of a model's own options, which :func:`create` takes by keyword.

    Raises:
        ValueError: no model has that name.

    >>> options("wgan-gp")
    ['penalty', 'points']
    """
    return _find(name)[0].options


def source(name: str) -> str:
    """Return what a model was published in, from the docstring of its builder.

    Raises:
        ValueError: no model has that name.

    >>> source("wgan")
    'Arjovsky et al., "Wasserstein GAN", 2017'
    """
    text = inspect.getdoc(_find(name)[0].build) or ""
    return " ".join(re.findall(r"Source: ([^\"]*\"[^\"]*\", \d+)", text, re.DOTALL)).replace(
        "\n", " "
    )


def _find(name: str) -> tuple[Family, re.Match[str]]:
    for family in _FAMILIES:
        match = family.pattern.fullmatch(str(name).lower())
        if match is not None:
            return family, match
    raise ValueError(unknown("model", name, names()))
