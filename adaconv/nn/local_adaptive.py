"""Local adaptive convolution as a module."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from adaconv.nn._grid_block import GridBlock
from adaconv.ops import _checks, local_adaptive_conv2d


class LocalAdaConvBlock(GridBlock):
    r"""A drop-in for :class:`torch.nn.Conv2d` whose weights are regressed at the points of a grid.

    .. math::
        d[n,k,g] &= (\mathrm{depthwise\_weight} * x)[n,k,g] \quad\text{at the grid's points } g \\
        a[n,j,p] &= \mathrm{normalize}_j\big((\mathrm{interpolation\_weight} * x)[n,j,p]
            + \mathrm{interpolation\_bias}[j, p \bmod \mathrm{pitch}]\big) \\
        w[n,o,c,t,p] &= \sum_j a[n,j,p]\;
            \mathrm{act}\Big(\sum_k P[o,c,t,k]\,d[n,k,g_j(p)] + q[o,c,t]\Big) \\
        y[n,o,p] &= \sum_{c,t} w[n,o,c,t,p]\;x[n,c,p+t]
            + (\mathrm{bias\_weight} * x)[n,o,p] + \mathrm{bias}[o]

    with ``*`` an ordinary convolution with a window of ``adaptive_kernel_size``, ``P`` the
    ``pointwise_weight``, ``q`` the ``pointwise_bias``, ``act`` a leaky ReLU and :math:`g_j(p)` the
    points nearest to p: those of :class:`AdaConvBlock`, regressed ``pitch``² times less often, see
    :func:`adaconv.local_adaptive_conv2d`. Input and output shapes are those of
    :class:`torch.nn.Conv2d` with the same arguments.

    The ``interpolation_bias``, one value for every place in a cell of the grid, starts such that
    weights are interpolated bilinearly between 4 points, and by quadratic B-splines between 9.

    Windows lie as in :class:`AdaConvBlock`. That of a grid point is the window of the pixel in its
    cell's centre; with an even pitch, of the pixel half a pixel above and to the left of it.

    Args:
        in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias,
            padding_mode, device, dtype: as in :class:`torch.nn.Conv2d`.
        pitch: distance of the grid's points, in output pixels.
        neighbours: J, points that a pixel's weights are mixed from, 4 or 9.
        normalize: "softmax" normalises the interpolation filter over the neighbours, so that a
            pixel's weights lie between those of its points; ``None`` leaves it as it is.
        adaptive_kernel_size, regressor, negative_slope, upsample, backend: as in
            :class:`AdaConvBlock`.

    Attributes:
        depthwise_weight: (C, 1, kA, kA), or ``None`` with ``regressor="full"``.
        pointwise_weight: (O, C / groups, kh, kw, D) with D = C ("separable") or C kA² ("full").
        pointwise_bias: (O, C / groups, kh, kw).
        interpolation_weight: (J, C, kA, kA).
        interpolation_bias: (J, pitch, pitch).
        bias_weight: (O, C, kA, kA); never grouped.
        bias: (O,), or ``None`` with ``bias=False``.

    Raises:
        TypeError, ValueError: an argument does not fit; the message says what was expected.

    Source: as of :func:`adaconv.local_adaptive_conv2d`.

    Example:
        >>> block = LocalAdaConvBlock(64, 32, 3, padding=1, pitch=4)
        >>> block(torch.randn(2, 64, 8, 8)).shape
        torch.Size([2, 32, 8, 8])
        >>> sum(p.numel() for p in block.parameters())
        1219488
    """

    pitch: int
    pointwise_weight: Tensor
    pointwise_bias: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        *args: Any,
        pitch: int = 4,
        **options: Any,
    ) -> None:
        _checks.factor("pitch", pitch)
        super().__init__(in_channels, out_channels, kernel_size, *args, pitch=pitch, **options)

    def _regression(self, features: int) -> dict[str, tuple[int, ...]]:
        filters = (self.out_channels, self.in_channels // self.groups, *self.kernel_size)
        return {
            "pointwise_weight": (*filters, features),
            "pointwise_bias": filters,
            **super()._regression(features),
        }

    def _convolve(self, x: Tensor, d: Tensor, b: Tensor, **options: Any) -> Tensor:
        a = self._interpolation(x, self.pitch, options["upsample"])
        P, q = self.pointwise_weight, self.pointwise_bias
        return local_adaptive_conv2d(x, d, P, q, a, b, self.pitch, **options)
