"""Reference of adaptive convolution."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def enlarge(x: Tensor, factor: int) -> Tensor:
    """Upsample ``x`` (N, C, H, W) by repeating each pixel ``factor`` times in both directions.

    :func:`torch.nn.functional.interpolate` rounds its positions: by 41 it misses some.
    """
    if factor == 1:
        return x
    n, c, h, w = x.shape
    if x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous():
        last = x.permute(0, 2, 3, 1)[:, :, None, :, None].expand(n, h, factor, w, factor, c)
        return last.reshape(n, h * factor, w * factor, c).permute(0, 3, 1, 2)
    rows = x[:, :, :, None, :, None].expand(n, c, h, factor, w, factor)
    return rows.reshape(n, c, h * factor, w * factor)


def frame(
    size: Sequence[int],
    kernel_size: Sequence[int],
    output_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> tuple[int, int, int, int]:
    """Return the pads (left, right, top, bottom) that all positions of the kernel fit into.

    ``padding`` is that at the top and left; the output size tells the others.
    """
    far = [
        (output_size[i] - 1) * stride[i] + (kernel_size[i] - 1) * dilation[i] + 1
        - padding[i] - size[i]
        for i in range(2)
    ]  # fmt: skip
    return padding[1], max(far[1], 0), padding[0], max(far[0], 0)


def patches(
    x: Tensor,
    kernel_size: tuple[int, int],
    output_size: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
) -> Tensor:
    """Unfold ``x`` (N, C, H, W) into the values under each tap, (N, C, kh, kw, OH, OW)."""
    x = F.pad(x, frame(x.shape[2:], kernel_size, output_size, stride, padding, dilation))

    def under(u: int, v: int) -> Tensor:
        top, left = u * dilation[0], v * dilation[1]
        bottom = top + (output_size[0] - 1) * stride[0] + 1
        right = left + (output_size[1] - 1) * stride[1] + 1
        return x[:, :, top : bottom : stride[0], left : right : stride[1]]

    rows = [
        torch.stack([under(u, v) for v in range(kernel_size[1])], 2) for u in range(kernel_size[0])
    ]
    return torch.stack(rows, 2)


def adaptive_conv2d(
    x: Tensor,
    d: Tensor,
    P: Tensor,
    q: Tensor | None,
    b: Tensor | None,
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
    negative_slope: float,
    upsample: int,
) -> Tensor:
    """Regress the weights of every pixel, then apply them.

    ``w[n,o,c,t,p] = act(Σ_k P[o,c,t,k]·d[n,k,p] + q[o,c,t])`` and
    ``y[n,o,p] = Σ_{c,t} w[n,o,c,t,p]·x[n,c,p+t] + b[n,o,p]``, with x enlarged ``upsample`` times;
    arguments as in :func:`adaconv.adaptive_conv2d`, checked there.
    """
    x = enlarge(x, upsample)
    weights = regress(d, P, q)
    weights = F.relu(weights) if negative_slope == 0 else F.leaky_relu(weights, negative_slope)
    y = apply(weights, x, d, P, stride, padding, dilation, groups)
    return y if b is None else y + b


def regress(d: Tensor, P: Tensor, q: Tensor | None) -> Tensor:
    """Return ``P·d + q``: a row of O·C/g·kh·kw values for each of the N·OH·OW pixels."""
    rows = d.permute(0, 2, 3, 1).flatten(0, 2)
    matrix = P.flatten(0, 3).t()
    return rows @ matrix if q is None else torch.addmm(q.flatten(), rows, matrix)


def apply(
    weights: Tensor,
    x: Tensor,
    d: Tensor,
    P: Tensor,
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
) -> Tensor:
    """Convolve ``x`` with the rows of weights that :func:`regress` returns for ``d`` and ``P``."""
    n, _, oh, ow = d.shape
    out_channels, group_channels, kh, kw, _ = P.shape
    columns = patches(x, (kh, kw), (oh, ow), stride, padding, dilation).permute(0, 4, 5, 1, 2, 3)
    length = group_channels * kh * kw
    y = torch.bmm(
        weights.reshape(n * oh * ow * groups, out_channels // groups, length),
        columns.reshape(n * oh * ow * groups, length, 1),
    )
    return y.view(n, oh, ow, out_channels).permute(0, 3, 1, 2)
