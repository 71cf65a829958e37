"""The operator at the shapes of AdaGAN's layers."""

import functools
from dataclasses import dataclass

import torch
from torch import Tensor

import adaconv
from adaconv_bench.operators.adaptive_conv import PRESETS as WHOLE
from adaconv_bench.operators.adaptive_conv import Layer
from adaconv_bench.registry import Preset, Problem


@dataclass(frozen=True)
class SeparableLayer(Layer):
    """A layer whose convolution is depthwise, then pointwise."""

    def _flops(self, batch: int, rows: int, columns: int) -> float:
        """Count those of both regressions: C weights for each (position, tap), O·C for a pixel."""
        height, width = self.output
        weights = rows * columns + height * width * self.out_channels
        return 2.0 * batch * weights * self.channels * self.depth

    def problem(
        self,
        batch: int,
        dtype: torch.dtype,
        *,
        integers: bool = False,
        values: torch.dtype = torch.float32,
    ) -> Problem:
        """Draw the inputs, those of the regressions from a grid, see :meth:`Layer.problem`."""
        rng = torch.Generator().manual_seed(0)

        def whole(limit: int, *shape: int) -> Tensor:
            return torch.randint(-limit, limit + 1, shape, generator=rng).to(dtype)

        def real(*shape: int) -> Tensor:
            return torch.randn(shape, generator=rng).to(values).to(dtype)

        draw = functools.partial(whole, 2) if integers else real
        filters = self.channels, self.kernel, self.kernel
        mixture = self.out_channels, self.channels
        x = draw(batch, self.channels, *self.picture)
        b, cotangent = (draw(batch, self.out_channels, *self.output) for _ in range(2))
        d = whole(4, batch, self.depth, *self.output)
        leaves = {"x": x, "d": d.sign() if integers else d / 4}
        for stage, shape in (("1", filters), ("2", mixture)):
            P, q = whole(8, *shape, self.depth), whole(64, *shape)
            leaves[f"P{stage}"] = P.sign() if integers else P / 128
            leaves[f"q{stage}"] = q.sign() if integers else (q + 0.5) / 512
        leaves["b"] = b
        for leaf in leaves.values():
            leaf.requires_grad_()
        options = {"stride": self.stride, "padding": self.padding, "dilation": self.dilation}
        return Problem(
            lambda: adaconv.adaptive_separable_conv2d(**leaves, **options), leaves, cotangent
        )


def _separable(preset: Preset) -> Preset:
    layers = (case for case in preset.cases if isinstance(case, Layer))
    cases = tuple(
        SeparableLayer(layer.name, layer.channels, layer.out_channels, layer.size)
        for layer in layers
    )
    return Preset(f"layers of {preset.description}, separable", preset.batch, cases)


PRESETS = {name: _separable(WHOLE[name]) for name in ("adagan-cifar10", "adagan-stl10", "quick")}

STATIC = PRESETS["adagan-cifar10"].cases

#: What stands for this operator in `adaconv bench all`.
SUITE = {"adagan-cifar10": ()}
