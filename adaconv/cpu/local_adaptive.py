"""Local adaptive convolution on the CPU: allocation, layouts and the calls into ``adaconv._C``.

The kernels see contiguous tensors with the channels last, and a picture that has its pads.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from adaconv import cpu
from adaconv.cpu._native import SUFFIX, address, empty_picture, to
from adaconv.reference.adaptive_conv import enlarge, frame
from adaconv.reference.local_adaptive import SIDES

Gradients = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]
Edge = tuple[int, int, int, int]


def _native(function: str, dtype: torch.dtype):
    return getattr(cpu._C, f"local_adaptive_{function}_{SUFFIX[dtype]}")


def _computed_in(dtype: torch.dtype) -> torch.dtype:
    return dtype if dtype == torch.float64 else torch.float32


def allocate_output(x: Tensor, P: Tensor, a: Tensor) -> Tensor:
    """Return an uninitialised y, channels_last where x is."""
    return empty_picture((a.shape[0], P.shape[0], *a.shape[2:]), x)


def allocate_gradients(
    x: Tensor, d: Tensor, P: Tensor, a: Tensor, wanted: Sequence[bool]
) -> Gradients:
    """Return tensors for the gradients of all but b; those that are not wanted are empty."""

    def like(tensor: Tensor, want: bool) -> Tensor:
        return torch.empty_like(tensor) if want else tensor.new_empty(0)

    gP = P.new_empty(P.shape if wanted[2] else 0)
    gq = P.new_empty(P.shape[:4] if wanted[3] else 0)
    return like(x, wanted[0]), like(d, wanted[1]), gP, gq, like(a, wanted[4])


def _last(tensor: Tensor) -> Tensor:
    """(N, C, H, W) → (N, H, W, C), contiguous."""
    return tensor.permute(0, 2, 3, 1).contiguous()


def _first(tensor: Tensor) -> Tensor:
    """(N, H, W, C) → (N, C, H, W)."""
    return tensor.permute(0, 3, 1, 2)


def _room(result: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the memory of (N, C, H, W) with the channels last, or some more where it lies else."""
    last = result.permute(0, 2, 3, 1)
    if result.dtype == dtype and last.is_contiguous():
        return last
    return torch.empty(last.shape, dtype=dtype, device=result.device)


def _whole(features: Tensor) -> Tensor:
    """Fill the last dimension, the features, up with zeros to whole vectors."""
    missing = -features.shape[-1] % cpu._C.LOCAL_ADAPTIVE_SLACK
    return F.pad(features, (0, missing)) if missing else features


def _contiguous(tensor: Any) -> Any:
    return None if tensor is None else tensor.contiguous()


def _edge(x: Tensor, P: Tensor, a: Tensor, stride, padding, dilation, upsample: int) -> Edge:
    size = [extent * upsample for extent in x.shape[2:]]
    return frame(size, P.shape[2:4], a.shape[2:], stride, padding, dilation)


def _picture(x: Tensor, edge: Edge, upsample: int) -> Tensor:
    """Return the enlarged, padded picture, and numbers that can be read behind it."""
    x = enlarge(x, upsample)
    n, c, h, w = x.shape
    left, right, top, bottom = edge
    shape = n, h + top + bottom, w + left + right, c
    values = x.new_zeros(math.prod(shape) + cpu._C.LOCAL_ADAPTIVE_SLACK)
    picture = values[: math.prod(shape)].view(shape)
    picture[:, top : top + h, left : left + w] = x.permute(0, 2, 3, 1)
    return picture


def _of_picture(gradient: Tensor, edge: Edge, upsample: int) -> Tensor:
    """Return the gradient of x from that of the enlarged, padded picture."""
    inner = F.pad(_first(gradient), [-amount for amount in edge])
    if upsample == 1:
        return inner
    return inner.unflatten(3, (-1, upsample)).unflatten(2, (-1, upsample)).sum((3, 5))


def _shape(picture, P, a, pitch, stride, dilation, groups, negative_slope):
    return cpu._C.LocalAdaptiveShape(
        tuple(picture.shape), tuple(P.shape), tuple(a.shape), tuple(stride), tuple(dilation),
        groups, pitch, SIDES[a.shape[3]], negative_slope,
    )  # fmt: skip


def forward(
    x: Tensor,
    d: Tensor,
    P: Tensor,
    q: Tensor | None,
    a: Tensor,
    b: Tensor | None,
    pitch: int,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    negative_slope: float,
    upsample: int,
) -> Tensor:
    """Compute y."""
    y = allocate_output(x, P, a)
    if y.numel() == 0:
        return y
    kernel = _computed_in(x.dtype)
    x, d, P, q, a, b = to(kernel, x, d, P, q, a, b)
    picture = _picture(x, _edge(x, P, a, stride, padding, dilation, upsample), upsample)
    d, P, q, a = _whole(_last(d)), _whole(_contiguous(P)), _contiguous(q), _last(a)
    sums = _room(y, kernel)
    sums.zero_() if b is None else sums.copy_(b.permute(0, 2, 3, 1))
    shape = _shape(picture, P, a, pitch, stride, dilation, groups, negative_slope)
    _native("forward", kernel)(shape, *map(address, (picture, d, P, q, a, sums)))
    return y.copy_(_first(sums))


def backward(
    gy: Tensor,
    x: Tensor,
    d: Tensor,
    P: Tensor,
    q: Tensor | None,
    a: Tensor,
    pitch: int,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    negative_slope: float,
    upsample: int,
    wanted: Sequence[bool],
) -> Gradients:
    """Compute the gradients of all arguments but b, those that are wanted.

    The kernel makes those of x and a together, and those of d, P and q.
    """
    gradients = allocate_gradients(x, d, P, a, wanted)
    if gy.numel() == 0:
        for gradient in gradients:
            gradient.zero_()
        return gradients
    kernel, features = _computed_in(x.dtype), d.shape[1]
    gy, x, d, P, q, a = to(kernel, gy, x, d, P, q, a)
    edge = _edge(x, P, a, stride, padding, dilation, upsample)
    picture = _picture(x, edge, upsample)
    gy, d, P, q, a = _last(gy), _whole(_last(d)), _whole(_contiguous(P)), _contiguous(q), _last(a)
    inputs, weights = wanted[0] or wanted[4], wanted[1] or wanted[2] or wanted[3]
    gx, ga, gd = map(torch.zeros_like, (picture, a, d))
    # The gradient of P may be large: it is not made twice.
    here = gradients[2].shape == P.shape and gradients[2].dtype == kernel
    gP = gradients[2].zero_() if here else torch.zeros_like(P)
    gq = P.new_zeros(P.shape[:4])
    shape = _shape(picture, P, a, pitch, stride, dilation, groups, negative_slope)
    made = zip((gx, gd, gP, gq, ga), (inputs, weights, weights, weights, inputs), strict=True)
    _native("backward", kernel)(
        shape, *map(address, (gy, picture, d, P, q, a)),
        *(address(gradient) if make else None for gradient, make in made),
    )  # fmt: skip
    found = (
        _of_picture(gx, edge, upsample), _first(gd)[:, :features], gP[..., :features], gq,
        _first(ga),
    )  # fmt: skip
    for gradient, want, value in zip(gradients, wanted, found, strict=True):
        if want:
            gradient.copy_(value)
    return gradients
