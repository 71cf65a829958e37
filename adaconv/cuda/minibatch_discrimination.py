"""Minibatch discrimination on CUDA: allocation and the calls into csrc/cuda."""

import ctypes

from torch import Tensor

from adaconv import cuda
from adaconv.cuda._native import argument


def forward(M: Tensor, Z: Tensor | None, skip: int | None) -> Tensor:
    """Compute o; its sums are kept in float32."""
    o = M.new_empty(M.shape[:2])
    _call("forward", M, M if Z is None else Z, skip, o)
    return o


def backward(g: Tensor, M: Tensor, Z: Tensor | None, skip: int | None) -> tuple[Tensor, Tensor]:
    """Compute the gradients of M and Z; that of a Z which is None is empty."""
    gM = M.new_empty(M.shape)
    if Z is None:
        _call("backward", M, M, skip, g, g, gM)
        return gM, M.new_empty(0)
    gZ = Z.new_empty(Z.shape)
    _call("backward", M, Z, skip, g, None, gM)
    _call("backward", Z, M, None if skip is None else -skip, None, g, gZ)
    return gM, gZ


def _call(function: str, A: Tensor, B: Tensor, skip: int | None, *more: Tensor | None) -> None:
    """Start a kernel over the rows of A; the last of ``more`` is the result."""
    if A.numel() == 0:
        return
    skipped = None if skip is None else ctypes.byref(ctypes.c_int64(skip))
    cuda.library.call(
        f"minibatch_discrimination_{function}", A, argument(A), argument(B), skipped,
        *map(argument, more),
    )  # fmt: skip
