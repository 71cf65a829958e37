"""Dynamic convolution on the CPU: allocation, dtypes and the calls into ``adaconv._C``."""

from collections.abc import Sequence

import torch
from torch import Tensor

from adaconv import cpu
from adaconv.cpu._native import SUFFIX, address, empty_picture, strided, sums_of, to


def _native(function: str, dtype: torch.dtype):
    return getattr(cpu._C, f"dynamic_conv_{function}_{SUFFIX[dtype]}")


def _computed_in(dtype: torch.dtype) -> torch.dtype:
    return dtype if dtype in SUFFIX else torch.float32


def _shape(x: Sequence[int], w: Sequence[int], stride, padding, dilation, groups: int):
    return cpu._C.DynamicConvShape(
        tuple(x), tuple(w), tuple(stride), tuple(padding), tuple(dilation), groups
    )


def allocate_output(x: Tensor, w: Tensor, groups: int) -> Tensor:
    """Return an uninitialised y, channels_last where x is."""
    return empty_picture((x.shape[0], max(w.shape[1], groups), *w.shape[5:]), x)


def forward(
    x: Tensor,
    w: Tensor,
    b: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> Tensor:
    """Compute y."""
    dtype, kernel = x.dtype, _computed_in(x.dtype)
    x, w, b = to(kernel, x, w, b)
    y = allocate_output(x, w, groups)
    if y.numel() > 0:
        _native("forward", kernel)(
            _shape(x.shape, w.shape, stride, padding, dilation, groups),
            strided(x), strided(w), strided(b), strided(y),
        )  # fmt: skip
    return y.to(dtype)


def allocate_input(gy: Tensor, w: Tensor, size: Sequence[int], groups: int) -> Tensor:
    """Return an uninitialised gradient of x, channels_last where gy is."""
    return empty_picture((gy.shape[0], w.shape[2] * groups, *size), gy)


def input_gradient(
    gy: Tensor,
    w: Tensor,
    size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> Tensor:
    """Compute the gradient of an x of that height and width."""
    dtype, kernel = gy.dtype, _computed_in(gy.dtype)
    gy, w = to(kernel, gy, w)
    gx = allocate_input(gy, w, size, groups).to(sums_of(kernel)).zero_()
    if gy.numel() > 0:
        _native("input", kernel)(
            _shape(gx.shape, w.shape, stride, padding, dilation, groups),
            strided(gy), strided(w), strided(gx),
        )  # fmt: skip
    return gx.to(dtype)


def allocate_weight(
    gy: Tensor, x: Tensor, filters: int, kernel_size: Sequence[int], groups: int
) -> Tensor:
    """Return an uninitialised, contiguous gradient of w."""
    shape = (x.shape[0], filters, x.shape[1] // groups, *kernel_size, *gy.shape[2:])
    return gy.new_empty(shape)


def weight_gradient(
    gy: Tensor,
    x: Tensor,
    filters: int,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> Tensor:
    """Compute the gradient of a w of so many filters of that size."""
    dtype, kernel = gy.dtype, _computed_in(gy.dtype)
    gy, x = to(kernel, gy, x)
    gw = allocate_weight(gy, x, filters, kernel_size, groups)
    if gw.numel() > 0:
        _native("weight", kernel)(
            _shape(x.shape, gw.shape, stride, padding, dilation, groups),
            strided(gy), strided(x), address(gw),
        )  # fmt: skip
    return gw.to(dtype)
