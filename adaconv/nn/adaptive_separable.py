"""Separable adaptive convolution as a module."""

from typing import Any

from torch import Tensor

from adaconv.nn._adaptive_block import PixelBlock
from adaconv.nn._grid_block import GridBlock
from adaconv.ops import adaptive_separable_conv2d, local_adaptive_conv2d
from adaconv.ops.adaptive_separable import STEM
from adaconv.reference.adaptive_separable import as_grouped, as_single_tap


class AdaSeparableConvBlock(GridBlock, PixelBlock):
    r"""A drop-in for :class:`torch.nn.Conv2d` in two stages whose weights are regressed per pixel.

    .. math::
        d &= \mathrm{depthwise\_weight} * x \\
        u[n,c,p] &= \sum_t \mathrm{act}\Big(\sum_k P_1[c,t,k]\,d[n,k,p] + q_1[c,t]\Big)\;
            x[n,c,p+t] \\
        y[n,o,p] &= \sum_c \mathrm{act}\Big(\sum_k P_2[o,c,k]\,d[n,k,p] + q_2[o,c]\Big)\;
            u[n,c,p] + (\mathrm{bias\_weight} * x)[n,o,p] + \mathrm{bias}[o]

    with ``*`` an ordinary convolution with a window of ``adaptive_kernel_size``, ``P₁`` the
    ``spatial_weight``, ``q₁`` the ``spatial_bias``, ``P₂`` the ``channel_weight``, ``q₂`` the
    ``channel_bias`` and ``act`` a leaky ReLU: what a depthwise-separable convolution is to an
    ordinary one, this is to :class:`AdaConvBlock`. It regresses (kh kw + O) C weights for a pixel
    instead of kh kw O C, and its parameters shrink alike: 128 → 64 channels with windows of 3x3
    have 1,280,320 instead of 9,585,856. Input and output shapes are those of
    :class:`torch.nn.Conv2d` with the same arguments; where the two windows lie is told in
    :class:`AdaConvBlock`.

    With a ``pitch`` the weights of both stages are regressed at the points of a grid, and mixed at
    every pixel by one interpolation filter, as those of :class:`LocalAdaConvBlock` are: what the
    two blocks save multiplies.

    Args:
        in_channels, out_channels, kernel_size, stride, padding, dilation, padding_mode, device,
            dtype: as in :class:`torch.nn.Conv2d`.
        groups: likewise, of the second stage; the first never mixes channels.
        bias, adaptive_kernel_size, regressor, negative_slope, upsample, backend: as in
            :class:`AdaConvBlock`.
        memory: what the backward pass finds, see :func:`adaconv.adaptive_separable_conv2d`; with a
            pitch it finds the arguments alone, whatever is chosen.
        pitch: distance of the grid's points, in output pixels; ``None`` regresses at every pixel.
        neighbours, normalize: as in :class:`LocalAdaConvBlock`; of no effect without a pitch.

    Attributes:
        depthwise_weight: (C, 1, kA, kA), or ``None`` with ``regressor="full"``.
        spatial_weight: (C, kh, kw, D) with D = C ("separable") or C kA² ("full").
        spatial_bias: (C, kh, kw).
        channel_weight: (O, C / groups, D).
        channel_bias: (O, C / groups).
        interpolation_weight: (J, C, kA, kA), with a pitch.
        interpolation_bias: (J, pitch, pitch), with a pitch.
        bias_weight: (O, C, kA, kA); never grouped.
        bias: (O,), or ``None`` with ``bias=False``.

    Raises:
        TypeError, ValueError: an argument does not fit; the message says what was expected.

    Source: as of :func:`adaconv.adaptive_separable_conv2d` and
    :func:`adaconv.local_adaptive_conv2d`.

    Example:
        >>> block = AdaSeparableConvBlock(64, 32, 3, padding=1)
        >>> block(torch.randn(2, 64, 8, 8)).shape
        torch.Size([2, 32, 8, 8])
        >>> sum(p.numel() for p in block.parameters())
        189600
    """

    stem = STEM

    spatial_weight: Tensor
    spatial_bias: Tensor
    channel_weight: Tensor
    channel_bias: Tensor

    def _regression(self, features: int) -> dict[str, tuple[int, ...]]:
        filters = (self.in_channels, *self.kernel_size)
        mixture = (self.out_channels, self.in_channels // self.groups)
        return {
            "spatial_weight": (*filters, features),
            "spatial_bias": filters,
            "channel_weight": (*mixture, features),
            "channel_bias": mixture,
            **super()._regression(features),
        }

    def _convolve(self, x: Tensor, d: Tensor, b: Tensor, **options: Any) -> Tensor:
        spatial = self.spatial_weight, self.spatial_bias
        channel = self.channel_weight, self.channel_bias
        if self.pitch is None:
            weights = (*spatial, *channel)
            return adaptive_separable_conv2d(x, d, *weights, b, memory=self.memory, **options)
        a = self._interpolation(x, self.pitch, options["upsample"])
        own = {**options, "groups": self.in_channels}
        mixture = {name: options[name] for name in ("groups", "negative_slope", "backend")}
        u = local_adaptive_conv2d(x, d, *as_grouped(*spatial), a, None, self.pitch, **own)
        return local_adaptive_conv2d(u, d, *as_single_tap(*channel), a, b, self.pitch, **mixture)
