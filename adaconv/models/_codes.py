"""Latents that end in codes: classes and numbers that a generator is told to make samples of."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adaconv.models._gan import GAN, PRIORS
from adaconv.models._shown import Shown

if TYPE_CHECKING:
    from adaconv.data import Batch


@dataclass(frozen=True)
class Codes:
    """What codes a latent ends in: one-hot ones, uniform over K classes, then uniform in [-1, 1].

    Args:
        categories: K of each of the categorical codes.
        continuous: number of the continuous codes.

    Raises:
        ValueError: there are fewer than two classes, or fewer than no codes.

    >>> Codes((10,), 2).size
    12
    """

    categories: tuple[int, ...]
    continuous: int = 0

    def __post_init__(self) -> None:
        for count in self.categories:
            if count < 2:
                raise ValueError(f"there must be at least 2 classes, got {count}")
        if self.continuous < 0:
            raise ValueError(f"continuous must be at least 0, got {self.continuous}")

    @property
    def size(self) -> int:
        """How many latents the codes take."""
        return sum(self.categories) + self.continuous

    def draw(self, n: int, **options: Any) -> Tensor:
        """Draw the codes of n latents, (n, size); the options are those of :func:`torch.rand`."""
        where = {name: options[name] for name in ("generator", "device")}
        drawn = [F.one_hot(torch.randint(k, (n,), **where), k) for k in self.categories]
        continuous = torch.rand(n, self.continuous, **options) * 2 - 1
        return torch.cat([*(codes.to(continuous) for codes in drawn), continuous], 1)

    def split(self, values: Tensor) -> tuple[list[Tensor], Tensor]:
        """Return the part of each categorical code, (N, K), and that of the continuous ones."""
        *categorical, continuous = values.split([*self.categories, self.continuous], 1)
        return categorical, continuous


class CodedGAN(GAN):
    """A GAN whose latents are noise, then codes.

    Samples are shown with the codes that they were made from, and real ones with their classes,
    where the model is ``labelled``: then the only code is the class.

    Args:
        generator, discriminator, config, options: as of :class:`GAN`.
        noise: number of latents in front of the codes.
        codes: what codes there are.
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        config: dict[str, Any],
        noise: int,
        codes: Codes,
        **options: Any,
    ) -> None:
        super().__init__(generator, discriminator, config, noise + codes.size, **options)
        self.noise, self.codes = noise, codes
        self.columns = codes.categories[0] if codes.categories else None

    def draw(self, n: int, **options: Any) -> Tensor:
        """Draw n latents, noise from the prior and codes."""
        return torch.cat(
            [PRIORS[self.prior](n, self.noise, **options), self.codes.draw(n, **options)], 1
        )

    def shown_latent(self, n: int, generator: torch.Generator) -> Tensor:
        """Draw latents for a picture that has a class in each column, and all else by the row."""
        if self.columns is None:
            return super().shown_latent(n, generator)
        rows = self.latent(math.ceil(n / self.columns), generator=generator)
        latent = rows.repeat_interleave(self.columns, 0)
        classes = torch.eye(self.columns, dtype=latent.dtype, device=latent.device)
        latent[:, self.noise : self.noise + self.columns] = classes.repeat(len(rows), 1)
        return latent[:n]

    def show_real(self, real: "Batch") -> Shown:
        """Return samples, and their classes where those are known."""
        if isinstance(real, Tensor):
            return Shown(real)
        return Shown(real.values, F.one_hot(real.labels, self.codes.size).to(real.values.dtype))

    def show_fake(self, latent: Tensor) -> Shown:
        """Return the samples of ``latent``, and its codes."""
        return Shown(self.generator(latent), latent[:, self.noise :])
