"""Dynamic convolution on CUDA: allocation and the calls into csrc/cuda."""

import ctypes
from collections.abc import Sequence

from torch import Tensor

from adaconv import cuda
from adaconv.cpu.dynamic_conv import allocate_input, allocate_output, allocate_weight
from adaconv.cuda._native import argument

__all__ = [
    "allocate_input", "allocate_output", "allocate_weight", "forward", "input_gradient",
    "weight_gradient",
]  # fmt: skip


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
    y = allocate_output(x, w, groups)
    return _filled("forward", y, (x, w, b), (*stride, *padding, *dilation), groups)


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
    gx = allocate_input(gy, w, size, groups)
    return _filled("input", gx, (gy, w), (*stride, *padding, *dilation), groups)


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
    gw = allocate_weight(gy, x, filters, kernel_size, groups)
    return _filled("weight", gw, (gy, x), (*stride, *padding, *dilation), groups)


def _filled(
    function: str,
    result: Tensor,
    given: Sequence[Tensor | None],
    options: Sequence[int],
    groups: int,
) -> Tensor:
    """Return the result, when kernels have been started that write it."""
    if result.numel() > 0:
        cuda.library.call(
            f"dynamic_conv_{function}", result, *map(argument, given),
            (ctypes.c_int * len(options))(*options), groups, argument(result),
        )  # fmt: skip
    return result
