"""Arithmetic on the means of chosen latents: man with glasses - man + woman."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from adaconv.explore.sheet import Row
from adaconv.models import GAN
from adaconv.train import sample

#: Half the range of the uniform noise around a result.
NOISE = 0.25


@dataclass(frozen=True)
class Term:
    """The mean of some latents, added or subtracted."""

    sign: int
    """1 or -1."""
    chosen: tuple[int, ...]
    """Numbers of the latents."""

    def mean(self, latent: Tensor) -> Tensor:
        """Return the mean of those among the latents (N, L), (L,).

        Raises:
            ValueError: a number is out of range.
        """
        if max(self.chosen) >= len(latent):
            raise ValueError(f"samples are numbered 0 to {len(latent) - 1}, got {max(self.chosen)}")
        return latent[list(self.chosen)].mean(0)


def parse(expression: str) -> list[Term]:
    """Read numbers of samples: groups of them with + or - between.

    Raises:
        ValueError: the text has another form.

    Example:
        >>> parse("0,4 - 2 + 7,1")
        [Term(sign=1, chosen=(0, 4)), Term(sign=-1, chosen=(2,)), Term(sign=1, chosen=(7, 1))]
    """
    text = "".join(expression.split())
    text = text if text.startswith(("+", "-")) else f"+{text}"
    if not re.fullmatch(r"([+-]\d+(,\d+)*)+", text):
        raise ValueError(
            "an expression has groups of numbers with + or - between, as in "
            f"'0,1,2 - 3,4,5 + 6,7,8', got {expression!r}"
        )
    return [
        Term(1 if sign == "+" else -1, tuple(int(number) for number in chosen.split(",")))
        for sign, chosen in re.findall(r"([+-])([\d,]+)", text)
    ]


def arithmetic(
    gan: GAN,
    latent: Tensor,
    terms: Sequence[Term],
    *,
    count: int = 8,
    generator: torch.Generator | None = None,
) -> list[Row]:
    """``Σ ± mean(z_i)``: a row for each group, with the sample of its mean, and one of the result.

    The result's row starts with the sample of the sum; the others have uniform noise of ±0.25 added
    to its latent.

    Args:
        gan: the model.
        latent: what numbers refer to, (N, L).
        terms: the sum, as :func:`parse` reads it.
        count: samples around the result.
        generator: source of the noise.

    Raises:
        ValueError: there are no terms, or one names a sample that is not there.

    Source: Radford et al., "Unsupervised Representation Learning with Deep Convolutional Generative
    Adversarial Networks", 2016, section 6.3.2 and figure 7.
    """
    if not terms:
        raise ValueError("there is nothing to add: name a group of samples at least")
    rows = []
    total = torch.zeros_like(latent[0])
    for term in terms:
        mean = term.mean(latent)
        total = total + term.sign * mean
        members = torch.cat([latent[list(term.chosen)], mean[None]])
        captions = [*map(str, term.chosen), "mean"]
        rows.append(Row("added" if term.sign > 0 else "subtracted", sample(gan, members), captions))
    noise = torch.rand(count, len(total), generator=generator).to(total)
    around = torch.cat([total[None], total + NOISE * (2 * noise - 1)])
    rows.append(Row("the result", sample(gan, around), ["sum", *["± noise"] * count]))
    return rows
