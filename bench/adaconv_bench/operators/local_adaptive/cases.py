"""The operator at the shapes of AdaGAN's layers."""

import functools
from dataclasses import dataclass, replace

import torch
from torch import Tensor

import adaconv
from adaconv_bench.operators.adaptive_conv import PRESETS as WHOLE
from adaconv_bench.operators.adaptive_conv import Layer
from adaconv_bench.registry import Preset, Problem

#: Samples per call; plain PyTorch writes the mixed weights of all.
BATCH = 16


@dataclass(frozen=True)
class LocalLayer(Layer):
    """A layer whose weights are regressed on a grid.

    Attributes:
        pitch: distance of the grid's points.
        neighbours: J, points that a pixel's weights are mixed from.
    """

    pitch: int = 4
    neighbours: int = 4

    @property
    def title(self) -> str:
        """That of the layer, and the grid."""
        return f"{super().title} pitch={self.pitch} J={self.neighbours}"

    @property
    def grid(self) -> tuple[int, int]:
        """Points of the grid, down and across."""
        height, width = self.output
        return -(-height // self.pitch), -(-width // self.pitch)

    def _flops(self, batch: int, rows: int, columns: int) -> float:
        """Count those of the regression, and J products for each (position, tap)."""
        regressed = self.grid[0] * self.grid[1] * self.kernel**2 * self.depth
        used = rows * columns * self.neighbours
        return 2.0 * batch * (regressed + used) * self.channels * self.out_channels

    def problem(
        self,
        batch: int,
        dtype: torch.dtype,
        *,
        integers: bool = False,
        values: torch.dtype = torch.float32,
    ) -> Problem:
        """Draw the inputs, those of the regression from a grid, see :meth:`Layer.problem`."""
        rng = torch.Generator().manual_seed(0)

        def whole(limit: int, *shape: int) -> Tensor:
            return torch.randint(-limit, limit + 1, shape, generator=rng).to(dtype)

        def real(*shape: int) -> Tensor:
            return torch.randn(shape, generator=rng).to(values).to(dtype)

        draw = functools.partial(whole, 2) if integers else real
        filters = self.out_channels, self.channels, self.kernel, self.kernel
        x = draw(batch, self.channels, *self.picture)
        a = draw(batch, self.neighbours, *self.output)
        b, cotangent = (draw(batch, self.out_channels, *self.output) for _ in range(2))
        d, P = whole(4, batch, self.depth, *self.grid), whole(8, *filters, self.depth)
        q = whole(64, *filters)
        if integers:
            d, P, q = d.sign(), P.sign(), q.sign()
        else:
            d, P, q = d / 4, P / 128, (q + 0.5) / 512
        leaves = {"x": x, "d": d, "P": P, "q": q, "a": a, "b": b}
        for leaf in leaves.values():
            leaf.requires_grad_()
        options = {"stride": self.stride, "padding": self.padding, "dilation": self.dilation}
        return Problem(
            lambda: adaconv.local_adaptive_conv2d(**leaves, pitch=self.pitch, **options),
            leaves,
            cotangent,
        )


def _local(layer: Layer) -> LocalLayer:
    return LocalLayer(layer.name, layer.channels, layer.out_channels, layer.size)


def _preset(name: str) -> Preset:
    whole = WHOLE[name]
    cases = tuple(_local(case) for case in whole.cases if isinstance(case, Layer))
    description = f"layers of {whole.description}, weights regressed on a grid"
    return Preset(description, min(whole.batch, BATCH), cases)


def _grids() -> Preset:
    layer = LocalLayer("", 64, 32, 16)
    cases = tuple(
        replace(layer, name=f"s={pitch} J={neighbours}", pitch=pitch, neighbours=neighbours)
        for neighbours in (4, 9)
        for pitch in (2, 4, 8)
    )
    return Preset("the second layer of AdaGAN-3x3 with grids of all kinds", BATCH, cases)


PRESETS = {
    **{name: _preset(name) for name in ("adagan-cifar10", "adagan-stl10", "quick")},
    "grids": _grids(),
}

#: What stands for this operator in `adaconv bench all`.
SUITE = {"adagan-cifar10": ()}

#: AdaGAN's layers, and one of wide windows, several blocks of features and tiles of outputs.
STATIC = (
    *PRESETS["adagan-cifar10"].cases,
    LocalLayer("blocks", 32, 150, 16, features=256, pitch=8, neighbours=9),
)
