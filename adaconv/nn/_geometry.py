"""Where the windows of a block lie on the picture that it reads.

The filter's window is the one that :class:`torch.nn.Conv2d` slides. The features that its weights
are regressed from come from a second window, of another size, that moves with the same stride
around the same centre; so both give the same output size, whatever the picture's.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from adaconv.nn._names import unknown
from adaconv.ops import _checks

#: padding_mode of torch.nn.Conv2d → mode of torch.nn.functional.pad
PADDING_MODES = {
    "zeros": "constant",
    "reflect": "reflect",
    "replicate": "replicate",
    "circular": "circular",
}

Pair = tuple[int, int]


@dataclass(frozen=True)
class Window:
    """A window that slides over a picture: pairs are (vertical, horizontal), all numbers pixels.

    ``near`` is padded at the top and left of the picture, ``far`` at the bottom and right; negative
    pads crop.
    """

    size: Pair
    stride: Pair
    dilation: Pair
    near: Pair
    far: Pair

    @property
    def symmetric(self) -> bool:
        """Whether a convolution can apply these pads through its own ``padding`` argument."""
        return self.near == self.far and min(self.near) >= 0

    def centred(self, size: Pair) -> "Window":
        """Return the undilated window of another size whose centre stays on the centre of this one.

        Where the two extents differ by an odd number of pixels the centres cannot meet; the new
        one then lies half a pixel above or to the left of the old one. Every picture has as many
        positions for one as for the other.
        """
        growth = [size[i] - 1 - self.dilation[i] * (self.size[i] - 1) for i in range(2)]
        far = [growth[i] // 2 for i in range(2)]
        near = [growth[i] - far[i] for i in range(2)]
        return Window(
            size=size,
            stride=self.stride,
            dilation=(1, 1),
            near=(self.near[0] + near[0], self.near[1] + near[1]),
            far=(self.far[0] + far[0], self.far[1] + far[1]),
        )

    def thinned(self, pitch: int, output_size: Pair, size: Pair) -> "Window":
        """Return the window that stops once in every cell of ``pitch`` x ``pitch`` positions.

        It does so in the cell's centre, or half a position above or to the left of it.

        Args:
            pitch: positions of a cell in each direction.
            output_size: positions of this window.
            size: height and width of the picture.
        """
        stride = self.stride[0] * pitch, self.stride[1] * pitch
        near = [self.near[i] - (pitch - 1) // 2 * self.stride[i] for i in range(2)]
        far = [
            (output_size[i] - 1) // pitch * stride[i]
            + self.dilation[i] * (self.size[i] - 1) + 1 - size[i] - near[i]
            for i in range(2)
        ]  # fmt: skip
        return replace(self, stride=stride, near=(near[0], near[1]), far=(far[0], far[1]))

    def unpadded(self) -> "Window":
        """Return this window for a picture that carries its pads already."""
        return replace(self, near=(0, 0), far=(0, 0))

    def pad(self, picture: Tensor, mode: str = "zeros") -> Tensor:
        """Apply the pads to ``picture``, (N, C, H, W)."""
        (top, left), (bottom, right) = self.near, self.far
        return F.pad(picture, (left, right, top, bottom), mode=PADDING_MODES[mode])

    def conv2d(
        self,
        picture: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        groups: int = 1,
        upsample: int = 1,
    ) -> Tensor:
        """Convolve, (N, C, H, W) → (N, O, OH, OW), the enlarged picture, with zero padding."""
        if upsample > 1:
            return self._conv2d_by_phases(picture, weight, bias, groups, upsample)
        picture, padding = self._ready(picture)
        return F.conv2d(picture, weight, bias, self.stride, padding, self.dilation, groups)

    def _conv2d_by_phases(
        self, picture: Tensor, weight: Tensor, bias: Tensor | None, groups: int, upsample: int
    ) -> Tensor:
        """Convolve the enlarged picture without making it.

        Output pixels that lie alike on the large pixels they read are of one *phase*. Those of one
        phase come from a convolution of the small picture whose weights are sums of ``weight``: of
        the taps that fall on the same large pixel.
        """
        height, width = self.check_fits(picture, upsample)
        down, across = (self._phases(axis, upsample) for axis in range(2))
        sums = down.sums(weight), weight, across.sums(weight)
        phases = torch.einsum("rat,octv,sbv->rsocab", *sums).flatten(0, 1)
        window = Window(
            size=(down.span, across.span),
            stride=(down.stride, across.stride),
            dilation=(1, 1),
            near=(-down.first, -across.first),
            far=(down.far(height, picture.shape[2]), across.far(width, picture.shape[3])),
        )
        if groups == 1:
            every = None if bias is None else bias.repeat(len(phases))
            y = window.conv2d(picture, phases.flatten(0, 1), every)
        else:  # a depthwise convolution that makes several channels of one is slow
            y = torch.cat([window.conv2d(picture, each, bias, groups) for each in phases], 1)
        y = y.unflatten(1, (down.count, across.count, -1)).permute(0, 3, 4, 1, 5, 2)
        return y.flatten(4, 5).flatten(2, 3)[:, :, :height, :width]

    def _phases(self, axis: int, upsample: int) -> "Phases":
        common = math.gcd(self.stride[axis], upsample)
        count = upsample // common
        reads = [
            [
                (phase * self.stride[axis] + tap * self.dilation[axis] - self.near[axis])
                // upsample
                for tap in range(self.size[axis])
            ]
            for phase in range(count)
        ]
        return Phases(self.stride[axis] // common, reads)

    def unfold(self, picture: Tensor, output_size: Pair) -> Tensor:
        """List what the window sees, (N, C, H, W) → (N, C * kh * kw, OH, OW), with zero padding."""
        picture, padding = self._ready(picture)
        columns = F.unfold(picture, self.size, self.dilation, padding, self.stride)
        return columns.unflatten(2, output_size)

    def check_fits(self, picture: Tensor, upsample: int = 1) -> Pair:
        """Return the output's (height, width); raise ValueError for a picture that is too small."""
        height, width = picture.shape[-2:]
        padded = (
            height * upsample + self.near[0] + self.far[0],
            width * upsample + self.near[1] + self.far[1],
        )
        return _checks.output_size(padded, self.size, self.stride, self.dilation)

    def _ready(self, picture: Tensor) -> tuple[Tensor, Pair]:
        """Leave symmetric pads to the operator, which needs no copy for them; apply others here."""
        return (picture, self.near) if self.symmetric else (self.pad(picture), (0, 0))


@dataclass(frozen=True)
class Phases:
    """The phases of a convolution of an enlarged picture along one axis.

    Output ``count * m + phase`` reads the pixel ``stride * m + reads[phase][tap]`` of the small
    picture.
    """

    stride: int
    reads: list[list[int]]

    @property
    def count(self) -> int:
        """Number of phases."""
        return len(self.reads)

    @property
    def first(self) -> int:
        """Position of the first pixel that any phase reads for ``m = 0``."""
        return min(map(min, self.reads))

    @property
    def span(self) -> int:
        """Pixels from the first to the last that any phase reads."""
        return max(map(max, self.reads)) - self.first + 1

    def far(self, outputs: int, size: int) -> int:
        """Return the pad behind ``size`` pixels that all positions fit into; negative: crop."""
        last = -(-outputs // self.count) - 1
        return last * self.stride + self.first + self.span - size

    def sums(self, like: Tensor) -> Tensor:
        """Return 1 where a phase's tap reads a pixel: (phases, span, taps)."""
        pixels = range(self.first, self.first + self.span)
        ones = [[[float(at == pixel) for at in taps] for pixel in pixels] for taps in self.reads]
        return torch.tensor(ones, dtype=like.dtype, device=like.device)


@dataclass(frozen=True)
class Geometry:
    """The border that a block's picture gets, and the two windows that then slide over it.

    A picture that needs more than symmetric zeros gets its border first, and both windows slide
    over the result: they see the same picture, and zeros beyond it.
    """

    border: Window | None
    padding_mode: str
    filter: Window
    regression: Window

    @classmethod
    def of(
        cls,
        kernel_size: Pair,
        stride: Pair,
        padding: int | Sequence[int] | str,
        dilation: Pair,
        padding_mode: str,
        adaptive_kernel_size: Pair,
    ) -> "Geometry":
        """Lay out the windows for the arguments of a :class:`torch.nn.Conv2d`.

        Raises:
            TypeError, ValueError: ``padding`` or ``padding_mode`` does not fit.
        """
        if padding_mode not in PADDING_MODES:
            raise ValueError(unknown("padding_mode", padding_mode, PADDING_MODES))
        near, far = _checks.pads(padding, kernel_size, stride, dilation)
        window = Window(kernel_size, stride, dilation, near, far)
        border = None if padding_mode == "zeros" and window.symmetric else window
        if border is not None:
            window = window.unpadded()
        return cls(border, padding_mode, window, window.centred(adaptive_kernel_size))

    def frame(self, picture: Tensor) -> Tensor:
        """Return the picture, (N, C, H, W), with the border that both windows see."""
        return picture if self.border is None else self.border.pad(picture, self.padding_mode)
