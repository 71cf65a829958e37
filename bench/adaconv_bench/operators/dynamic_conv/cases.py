"""The operator with weights given for every pixel, at the shapes that its users have."""

import functools
from dataclasses import dataclass

import torch
from torch import Tensor

import adaconv
from adaconv_bench.registry import Preset, Problem


@dataclass(frozen=True)
class Layer:
    """One call, of stride 1 and with a padding that keeps the picture's size.

    Attributes:
        name: short name.
        channels: C.
        filters: S, of all groups together.
        size: height and width of the picture.
        groups: groups of channels; more of them than filters share these.
        kernel: taps in each direction, an odd number.
    """

    name: str
    channels: int
    filters: int
    size: int
    groups: int = 1
    kernel: int = 3
    exact: bool = True
    gradient_slack: float = 0.0

    @property
    def title(self) -> str:
        """Channels, filters, picture size and taps."""
        groups = f" groups={self.groups}" if self.groups > 1 else ""
        return f"{self.channels}→{self.filters} @{self.size}² K={self.kernel}{groups}"

    @property
    def outputs(self) -> int:
        """O."""
        return max(self.filters, self.groups)

    def flops(self, batch: int) -> float:
        """Those of the products with the weights: 2·N·H·W·O·C/groups·kh·kw."""
        taps = self.channels // self.groups * self.kernel**2
        return 2.0 * batch * self.size**2 * self.outputs * taps

    def problem(
        self,
        batch: int,
        dtype: torch.dtype,
        *,
        integers: bool = False,
        values: torch.dtype = torch.float32,
    ) -> Problem:
        """Draw picture, weights and bias; with ``integers``, all sums are exact."""
        rng = torch.Generator().manual_seed(0)

        def whole(*shape: int) -> Tensor:
            return torch.randint(-2, 3, shape, generator=rng).to(dtype)

        def real(*shape: int) -> Tensor:
            return torch.randn(shape, generator=rng).to(values).to(dtype)

        draw = whole if integers else real
        picture, taps = (self.size, self.size), (self.kernel, self.kernel)
        x = draw(batch, self.channels, *picture).requires_grad_()
        depth = self.channels // self.groups
        w = draw(batch, self.filters, depth, *taps, *picture).requires_grad_()
        b, cotangent = (draw(batch, self.outputs, *picture) for _ in range(2))
        call = functools.partial(
            adaconv.dynamic_conv2d, x, w, b.requires_grad_(), padding="same", groups=self.groups
        )
        return Problem(call, {"x": x, "w": w, "b": b}, cotangent)


ADAGAN = (
    Layer("L1", 128, 64, 8),
    Layer("L2", 64, 32, 16),
    Layer("L3", 32, 16, 32),
    Layer("L4", 16, 3, 32),
)
SHARED = (
    Layer("depthwise", 64, 64, 32, groups=64),
    Layer("involution", 64, 4, 32, groups=64, kernel=7),
    Layer("kernel prediction", 3, 1, 128, groups=3, kernel=5),
)

PRESETS = {
    "adagan-cifar10": Preset("the convolutions inside AdaGAN-3x3's layers", 8, ADAGAN),
    "filters": Preset("depthwise filters, and filters that channels share", 8, SHARED),
    "quick": Preset("all of them, two pictures at a time", 2, (*ADAGAN, *SHARED)),
}

#: One filter for each output, for few outputs, for each channel, and shared.
STATIC = (ADAGAN[0], ADAGAN[3], *SHARED)

#: What stands for this operator in `adaconv bench all`.
SUITE = {"quick": ()}
