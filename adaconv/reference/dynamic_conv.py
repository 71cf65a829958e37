"""Reference of dynamic convolution."""

import torch
from torch import Tensor

from adaconv.reference.adaptive_conv import patches


def dynamic_conv2d(
    x: Tensor,
    w: Tensor,
    b: Tensor | None,
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
) -> Tensor:
    """Apply a filter of its own to every pixel.

    ``y[n,o,p] = Σ_{c,t} w[n,s,c,t,p]·x[n,c,p+t] + b[n,o,p]``, where output o has filter
    ``s = o // (O // S)`` of the S in ``w``; arguments as in :func:`adaconv.dynamic_conv2d`, checked
    there.
    """
    kh, kw, oh, ow = w.shape[3:]
    columns = patches(x, (kh, kw), (oh, ow), stride, padding, dilation)
    columns = columns.unflatten(1, (groups, -1))
    filters = w.repeat_interleave(max(groups // w.shape[1], 1), 1).unflatten(1, (groups, -1))
    y = torch.einsum("ngocuvij,ngcuvij->ngoij", filters, columns).flatten(1, 2)
    return y if b is None else y + b
