"""Minibatch discrimination on the CPU: allocation, dtypes and the calls into ``adaconv._C``."""

import torch
from torch import Tensor

from adaconv import cpu
from adaconv.cpu._native import SUFFIX, address


def forward(M: Tensor, Z: Tensor | None, skip: int | None) -> Tensor:
    """Compute o; its sums are kept in float32, or float64."""
    o = M.new_zeros(M.shape[:2], dtype=_wide(M))
    _native("forward", M, Z, skip, o)
    if Z is None and skip is None:
        # The kernel compares no row with itself: 0 apart, or NaN where there is one or infinity.
        o += torch.exp((M - M).sum(2))
    return o.to(M.dtype)


def backward(g: Tensor, M: Tensor, Z: Tensor | None, skip: int | None) -> tuple[Tensor, Tensor]:
    """Compute the gradients of M and Z; that of a Z which is None is empty."""
    gM = M.new_zeros(M.shape, dtype=_wide(M))
    gZ = None if Z is None else Z.new_zeros(Z.shape, dtype=_wide(M))
    _native("backward", M, Z, skip, g.to(_wide(M)).contiguous(), gM, gZ)
    return gM.to(M.dtype), M.new_empty(0) if gZ is None else gZ.to(M.dtype)


def _wide(M: Tensor) -> torch.dtype:
    return torch.promote_types(M.dtype, torch.float32)


def _native(
    function: str, M: Tensor, Z: Tensor | None, skip: int | None, *more: Tensor | None
) -> None:
    """Call a kernel; ``more`` are contiguous, in the dtype that sums are kept in, and zeros."""
    dtype, shape = _wide(M), tuple(M.shape)
    M, Z = M.to(dtype).contiguous(), None if Z is None else Z.to(dtype).contiguous()
    others = 0 if Z is None else len(Z)
    if M.numel() == 0 or (Z is not None and others == 0):
        return
    call = getattr(cpu._C, f"minibatch_discrimination_{function}_{SUFFIX[dtype]}")
    call(shape, others, others if skip is None else skip, *map(address, (M, Z, *more)))
