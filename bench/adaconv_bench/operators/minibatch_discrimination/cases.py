"""A batch compared with itself, or with a second one of its size."""

from dataclasses import dataclass

import torch

import adaconv
from adaconv_bench.registry import Preset, Problem


@dataclass(frozen=True)
class Minibatch:
    """The operator at one shape; N is the batch.

    Attributes:
        name: short name.
        kernels: B, the measures of distance.
        size: C, the dimensions of each.
        two_sets: whether the batch is compared with a second one instead of itself.
    """

    name: str
    kernels: int
    size: int
    two_sets: bool = False
    exact: bool = False
    gradient_slack: float = 0.0

    @property
    def title(self) -> str:
        """B, C, and whether there are two sets."""
        return f"B={self.kernels} C={self.size}{', two sets' if self.two_sets else ''}"

    def flops(self, batch: int) -> float:
        """Those of all distances: 3·N²·B·C; the exponentials are not counted."""
        return 3.0 * batch * batch * self.kernels * self.size

    def problem(
        self,
        batch: int,
        dtype: torch.dtype,
        *,
        integers: bool = False,
        values: torch.dtype = torch.float32,
    ) -> Problem:
        """Draw features that are about 1 apart, as those of a discriminator are."""
        if integers:
            raise ValueError("exponentials of integers are not exact")
        rng = torch.Generator().manual_seed(0)

        def real(*shape: int) -> torch.Tensor:
            return torch.randn(shape, generator=rng)

        names = ("M", "other") if self.two_sets else ("M",)
        leaves = {
            name: (real(batch, self.kernels, self.size) / self.size)
            .to(values).to(dtype).requires_grad_()
            for name in names
        }  # fmt: skip
        cotangent = real(batch, self.kernels).to(values).to(dtype)
        return Problem(
            lambda: adaconv.minibatch_discrimination(*leaves.values()), leaves, cotangent
        )


_PUBLISHED = (Minibatch("CIFAR-10", 100, 5), Minibatch("two sets", 100, 5, two_sets=True))

PRESETS = {
    "improved-gan": Preset("the published sizes at N = 256", 256, _PUBLISHED),
    "wide": Preset("the published size for ImageNet", 64, (Minibatch("ImageNet", 300, 50),)),
    "quick": Preset("the published sizes at N = 32", 32, _PUBLISHED),
}

STATIC = (*_PUBLISHED, *PRESETS["wide"].cases)

#: What stands for this operator in `adaconv bench all`.
SUITE = {"improved-gan": ("eager-broadcast",)}
