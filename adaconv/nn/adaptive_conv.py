"""Adaptive convolution as a module."""

from typing import Any

from torch import Tensor

from adaconv.nn._adaptive_block import PixelBlock
from adaconv.ops import adaptive_conv2d
from adaconv.ops.adaptive_conv import STEM


class AdaConvBlock(PixelBlock):
    r"""A drop-in for :class:`torch.nn.Conv2d` whose weights are regressed at every pixel.

    .. math::
        d &= \mathrm{depthwise\_weight} * x \\
        w[n,o,c,t,p] &= \mathrm{act}\Big(\sum_k P[o,c,t,k]\,d[n,k,p] + q[o,c,t]\Big) \\
        y[n,o,p] &= \sum_{c,t} w[n,o,c,t,p]\;x[n,c,p+t]
            + (\mathrm{bias\_weight} * x)[n,o,p] + \mathrm{bias}[o]

    with ``*`` an ordinary convolution with a window of ``adaptive_kernel_size``, ``P`` the
    ``pointwise_weight``, ``q`` the ``pointwise_bias`` and ``act`` a leaky ReLU. The weights ``w``
    are never written to memory, see :func:`adaconv.adaptive_conv2d`. Input and output shapes are
    those of :class:`torch.nn.Conv2d` with the same arguments: (N, C, H, W) or (C, H, W).

    The window of ``adaptive_kernel_size`` moves with the filter's stride, undilated, around the
    filter window's centre; where their extents differ by an odd number of pixels, half a pixel
    above or to the left of it. It sees the picture that the filter sees, with the border that
    ``padding_mode`` gives it, and zeros beyond.

    Args:
        in_channels, out_channels, kernel_size, stride, padding, dilation, groups, padding_mode,
            device, dtype: as in :class:`torch.nn.Conv2d`.
        bias: whether to learn the constant ``bias``. Without it zeros stay zeros; ``bias_weight``,
            which depends on ``x``, and ``pointwise_bias``, which belongs to the regression, are
            there in any case.
        adaptive_kernel_size: window in pixels that weights and biases are regressed from.
        regressor: "separable" regresses from a depthwise convolution of ``x`` (equation 5 of the
            source), "full" from all values in the window (equation 2), at ``adaptive_kernel_size``²
            times the cost.
        negative_slope: slope of ``act`` below 0; 0 is ReLU, the source's choice, and 1 the
            identity.
        upsample: factor of a nearest-neighbour upsampling of ``x`` that comes before everything
            else. The enlarged picture does not exist, except for the reference, for a border other
            than symmetric zeros, and, in passing, for the "full" regressor.
        memory: what the backward pass finds of the regressed weights: "mask", one bit of each, or
            "recompute", nothing, see :func:`adaconv.adaptive_conv2d`.
        backend: name of the backend to run; ``None`` chooses, see :func:`adaconv.backend`.

    Attributes:
        depthwise_weight: (C, 1, kA, kA), or ``None`` with ``regressor="full"``.
        pointwise_weight: (O, C / groups, kh, kw, D) with D = C ("separable") or C kA² ("full", in
            the order of :func:`torch.nn.functional.unfold`).
        pointwise_bias: (O, C / groups, kh, kw).
        bias_weight: (O, C, kA, kA); never grouped.
        bias: (O,), or ``None`` with ``bias=False``.

    Raises:
        TypeError, ValueError: an argument does not fit; the message says what was expected.

    Source: Nguyen & Ray, "Generative Adversarial Networks using Adaptive Convolution", 2018,
    section 3.

    Example:
        >>> block = AdaConvBlock(64, 32, 3, padding=1)
        >>> block(torch.randn(2, 64, 8, 8)).shape
        torch.Size([2, 32, 8, 8])
        >>> sum(p.numel() for p in block.parameters())
        1217120
    """

    stem = STEM

    pointwise_weight: Tensor
    pointwise_bias: Tensor

    def _regression(self, features: int) -> dict[str, tuple[int, ...]]:
        filters = (self.out_channels, self.in_channels // self.groups, *self.kernel_size)
        return {"pointwise_weight": (*filters, features), "pointwise_bias": filters}

    def _convolve(self, x: Tensor, d: Tensor, b: Tensor, **options: Any) -> Tensor:
        P, q = self.pointwise_weight, self.pointwise_bias
        return adaptive_conv2d(x, d, P, q, b, memory=self.memory, **options)
