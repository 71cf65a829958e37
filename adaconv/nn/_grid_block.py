"""What blocks share whose weights are regressed at the points of a grid."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from adaconv.nn._adaptive_block import AdaptiveBlock
from adaconv.ops import _checks
from adaconv.ops._dispatch import select
from adaconv.ops.local_adaptive import STEM
from adaconv.reference.local_adaptive import SIDES, points

NORMALIZATIONS = ("softmax", None)


class GridBlock(AdaptiveBlock):
    """An adaptive block that has features at the points of a grid, and interpolation filters.

    Both are defined in :class:`adaconv.nn.LocalAdaConvBlock`. With the pitch ``None`` there is no
    grid, and features are those of every pixel.
    """

    pitch: int | None

    interpolation_weight: Tensor
    interpolation_bias: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        *args: Any,
        pitch: int | None = None,
        neighbours: int = 4,
        normalize: str | None = "softmax",
        **options: Any,
    ) -> None:
        if pitch is not None:
            _checks.factor("pitch", pitch)
            self.stem = STEM
        if neighbours not in SIDES:
            raise ValueError(f"neighbours must be 4 or 9, got {neighbours!r}")
        if normalize not in NORMALIZATIONS:
            raise ValueError(f'normalize must be "softmax" or None, got {normalize!r}')
        self.pitch, self.neighbours, self.normalize = pitch, neighbours, normalize
        super().__init__(in_channels, out_channels, kernel_size, *args, **options)

    def _regression(self, features: int) -> dict[str, tuple[int, ...]]:
        if self.pitch is None:
            return {}
        window = self.adaptive_kernel_size
        return {
            "interpolation_weight": (self.neighbours, self.in_channels, *window),
            "interpolation_bias": (self.neighbours, self.pitch, self.pitch),
        }

    def reset_parameters(self) -> None:
        """Initialise as :class:`AdaConvBlock` does; weights start out smoothly interpolated."""
        super().reset_parameters()
        if self.pitch is None:
            return
        table = smooth_interpolation(self.neighbours, self.pitch)
        if self.normalize == "softmax":
            table = table.clamp(min=1e-4).log()
        with torch.no_grad():
            self.interpolation_bias.copy_(table)

    def forward(self, x: Tensor) -> Tensor:
        """Map x (N, C, H, W) to y (N, O, OH, OW), or (C, H, W) to (O, OH, OW)."""
        self._check_input(x)
        if x.dim() == 3 or self.pitch is None or select(self.backend, self.stem, [x]) != "cpu":
            return super().forward(x)
        # The kernels and the convolutions beside them are at their best with the channels last.
        y = super().forward(x.contiguous(memory_format=torch.channels_last))
        return y.contiguous() if x.is_contiguous() else y

    def _features(self, x: Tensor, output_size: tuple[int, int], upsample: int) -> Tensor:
        """Return d, (N, D, GH, GW), at the points of the grid."""
        if self.pitch is None:
            return super()._features(x, output_size, upsample)
        height, width = x.shape[2] * upsample, x.shape[3] * upsample
        window = self._geometry.regression.thinned(self.pitch, output_size, (height, width))
        grid = points(output_size[0], self.pitch), points(output_size[1], self.pitch)
        return self._seen_by(window, x, grid, upsample)

    def _interpolation(self, x: Tensor, pitch: int, upsample: int) -> Tensor:
        """Return the interpolation filters, (N, J, OH, OW)."""
        window = self._geometry.regression
        a = window.conv2d(x, self.interpolation_weight, upsample=upsample)
        height, width = a.shape[2:]
        cells = points(height, pitch), points(width, pitch)
        a = a + self.interpolation_bias.repeat(1, *cells)[:, :height, :width]
        return a.softmax(1) if self.normalize == "softmax" else a

    def extra_repr(self) -> str:
        """Return the arguments as :class:`AdaConvBlock` does, and those of the grid."""
        own = super().extra_repr()
        if self.pitch is None:
            return own
        grid = f"pitch={self.pitch}, neighbours={self.neighbours}, normalize={self.normalize!r}"
        return f"{own}, {grid}"


def smooth_interpolation(neighbours: int, pitch: int) -> Tensor:
    """Return bilinear (4 neighbours) or quadratic B-spline (9) filters, (J, pitch, pitch).

    They are the weights of a pixel's neighbours, in the order of
    :mod:`adaconv.reference.local_adaptive`, for each place in a cell of the grid; they sum to 1.
    """
    # How far a pixel is from the centre of its cell, in cells: -1/2 to 1/2.
    off = (torch.arange(pitch, dtype=torch.float64) - (pitch - 1) / 2) / pitch
    if SIDES[neighbours] == 2:
        after = off.remainder(1)  # from the point before
        weights = torch.stack([1 - after, after])
    else:
        weights = torch.stack([(0.5 - off) ** 2 / 2, 0.75 - off**2, (0.5 + off) ** 2 / 2])
    return torch.einsum("iv,jh->ijvh", weights, weights).flatten(0, 1)
