"""The models by name: every file of this package registers its own, and there is no other list."""

import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from adaconv.models._gan import GAN
from adaconv.models._switches import switch_on
from adaconv.nn._names import unknown


@dataclass(frozen=True)
class Family:
    """Models whose names match one pattern."""

    pattern: re.Pattern[str]
    listed: tuple[str, ...]
    build: Callable[..., GAN]

    @property
    def options(self) -> dict[str, Any]:
        """Names and types of the options that ``build`` takes: its keyword-only parameters."""
        parameters = inspect.signature(self.build).parameters.values()
        return {p.name: p.annotation for p in parameters if p.kind is p.KEYWORD_ONLY}


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


def create(
    name: str,
    image_size: int = 32,
    width: float = 1.0,
    *,
    tricks: Sequence[str] = (),
    **options: Any,
) -> GAN:
    """Build a model by name, newly initialised from PyTorch's global random state.

    Args:
        name: one of :func:`names`, or another of the family: ``adagan-KxK`` regresses from windows
            of KxK pixels, K odd, and ``adagan-n-KxK``, n from 1 to 3, in its first n blocks only.
            Upper and lower case are the same.
        image_size: height and width of the images in pixels; what a model can make differs.
        width: factor on the number of channels of all hidden layers.
        tricks: what to add, in any order: "minibatch-discrimination", "virtual-batch-norm",
            "feature-matching", "label-smoothing", "historical-averaging" or "consensus"; values
            follow behind colons, as in ``"label-smoothing:0.9:0.1"``, α and β.
        **options: the model's own options, such as ``loss``, ``setting`` and ``regressor``: the
            keyword arguments of the function that builds it, see :func:`options`.

    Returns:
        The model; ``create(**model.config)`` builds another one like it.

    Raises:
        ValueError: no model or trick has that name, the model cannot take a trick, or an argument
            is out of range.
        TypeError: the model has no such option, or its value is of another type.

    Example:
        >>> gan = create("adagan-3x3", image_size=32, width=0.25)
        >>> gan.generator(gan.latent(2)).shape
        torch.Size([2, 3, 32, 32])
    """
    family, match = _find(name)
    known = family.options
    for option, value in options.items():
        if option not in known:
            raise TypeError(f"model {name}: {unknown('option', option, known)}")
        if not _fits(value, known[option]):
            expected = getattr(known[option], "__name__", known[option])
            raise TypeError(f"model {name}: {option} must be of type {expected}, got {value!r}")
    gan = family.build(match, image_size, width, **options)
    switch_on(gan, tricks)
    return gan


def options(name: str) -> list[str]:
    """Return the names of a model's own options, which :func:`create` takes by keyword.

    Raises:
        ValueError: no model has that name.

    >>> options("wgan-gp")
    ['penalty', 'points']
    """
    return list(_find(name)[0].options)


def source(name: str) -> str:
    """Return what a model was published in, from the docstring of its builder.

    Raises:
        ValueError: no model has that name.

    >>> source("wgan")
    'Arjovsky et al., "Wasserstein GAN", 2017'
    """
    words = " ".join((inspect.getdoc(_find(name)[0].build) or "").split())
    found = re.search(r'Source: ([^"]*"[^"]*", \d+)', words)
    return found[1] if found else ""


def _find(name: str) -> tuple[Family, re.Match[str]]:
    for family in _FAMILIES:
        match = family.pattern.fullmatch(str(name).lower())
        if match is not None:
            return family, match
    raise ValueError(unknown("model", name, names()))


def _fits(value: object, kind: Any) -> bool:
    """Whether a value may stand for one of type ``kind``: an integer may for a float."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = float(value) if isinstance(0.0, kind) else value
    return isinstance(value, kind)
