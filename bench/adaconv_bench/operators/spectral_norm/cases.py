"""All weights of the spectrally normalised discriminator."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

import adaconv
from adaconv.models.sngan import CHANNELS, WINDOWS
from adaconv_bench.registry import Preset, Problem


class Weights(Problem):
    """A problem whose forward pass returns several tensors; its cotangent is one behind another."""

    forward: Callable[[], Sequence[Tensor]]  # type: ignore[assignment]

    def backward(self, y: Sequence[Tensor]) -> dict[str, Tensor]:  # type: ignore[override]
        """Return the gradient of every weight."""
        parts = self.cotangent.split([one.numel() for one in y])
        cotangents = [part.view_as(one) for part, one in zip(parts, y, strict=True)]
        gradients = torch.autograd.grad(y, list(self.leaves.values()), cotangents)
        return dict(zip(self.leaves, gradients, strict=True))

    def results(self) -> dict[str, Tensor]:
        """Return the normalised weights, one behind another, and the gradient of every weight."""
        y = self.forward()
        return {"y": torch.cat([one.detach().flatten() for one in y]), **self.backward(y)}


@dataclass(frozen=True)
class Discriminator:
    """One step of power iteration on the weights of the discriminator; the batch plays no part.

    Attributes:
        name: ``"narrow"`` or ``"wide"``.
        image_size: height and width of its pictures.
    """

    name: str
    image_size: int = 32
    exact: bool = False
    gradient_slack: float = 0.0

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Those of the weights."""
        channels = CHANNELS[self.name]
        pairs = itertools.pairwise((3, *channels))
        convolutions = [
            (after, before, size, size)
            for (before, after), (size, _) in zip(pairs, WINDOWS, strict=True)
        ]
        return [*convolutions, (1, channels[-1] * (self.image_size // 8) ** 2)]

    @property
    def title(self) -> str:
        """Layers and parameters."""
        return f"{len(self.shapes)} weights, {self._values() / 1e6:.1f} M"

    def _values(self) -> int:
        return sum(torch.Size(shape).numel() for shape in self.shapes)

    def flops(self, batch: int) -> float:
        """Those of three products with each matrix, of a quotient, whatever the batch."""
        return 7.0 * self._values()

    def problem(
        self,
        batch: int,
        dtype: torch.dtype,
        *,
        integers: bool = False,
        values: torch.dtype = torch.float32,
    ) -> Problem:
        """Draw the weights as they are initialised; each call starts from the same u and v."""
        if integers:
            raise ValueError("a norm of integers is not exact")
        rng = torch.Generator().manual_seed(0)

        def real(*shape: int) -> Tensor:
            return torch.randn(shape, generator=rng).to(values).to(dtype)

        leaves = {
            f"weight {i}": (0.02 * real(*shape)).requires_grad_()
            for i, shape in enumerate(self.shapes)
        }
        weights = list(leaves.values())
        us = [F.normalize(real(len(w)), dim=0) for w in weights]
        vs = [F.normalize(real(w[0].numel()), dim=0) for w in weights]

        def normalised() -> list[Tensor]:
            copies = [u.clone() for u in us], [v.clone() for v in vs]
            return adaconv.spectral_normalize(weights, *copies)

        return Weights(normalised, leaves, real(self._values()))


PRESETS = {
    "sngan": Preset(
        "the discriminator of SNGAN", 1, (Discriminator("narrow"), Discriminator("wide"))
    ),
}

STATIC = PRESETS["sngan"].cases
