"""Minibatch discrimination on GPUs: launches of the Triton kernels."""

from typing import NamedTuple

import torch
from torch import Tensor

from adaconv_kernels import _device, _tuning
from adaconv_kernels import minibatch_discrimination_kernels as kernels
from adaconv_kernels._device import cdiv, power_of_2

#: Rows i of a tile, the lanes of a program.
ROWS = 32


class Config(NamedTuple):
    """How a kernel is cut: pairs times dimensions that a lane holds, most dimensions among them."""

    values: int
    dimensions: int


#: How each kernel is cut: first with the fewest steps, behind it with the most programs at a time.
CONFIGS = {
    "forward_kernel": (Config(64, 32), Config(32, 32)),
    "backward_kernel": (Config(64, 32), Config(32, 16)),
}


def forward(M: Tensor, Z: Tensor | None, skip: int | None) -> Tensor:
    """Compute o; its sums are kept in float32."""
    o = M.new_empty(M.shape[:2])
    if Z is not None and len(Z) == 0:
        return o.zero_()
    return _device.written(
        o, lambda out: _launch(kernels.forward_kernel, M, M if Z is None else Z, skip, out)
    )


def backward(g: Tensor, M: Tensor, Z: Tensor | None, skip: int | None) -> tuple[Tensor, Tensor]:
    """Compute the gradients of M and Z; that of a Z which is None is empty."""
    if Z is None:
        gM = _gradient(M, M, skip, g, g)
        return gM, M.new_empty(0)
    return _gradient(M, Z, skip, g, None), _gradient(Z, M, None if skip is None else -skip, None, g)


def _gradient(
    A: Tensor, B: Tensor, skip: int | None, of_rows: Tensor | None, of_columns: Tensor | None
) -> Tensor:
    """Return the gradient of A in o(A, B), o(B, A) or, where A is B, o(A, A)."""
    gradient = A.new_empty(A.shape)
    if len(B) == 0:
        return gradient.zero_()
    return _device.written(
        gradient,
        lambda out: _launch(kernels.backward_kernel, A, B, skip, out, of_rows, of_columns),
    )


def _launch(
    kernel, A: Tensor, B: Tensor, skip: int | None, out: Tensor, *gs: Tensor | None
) -> None:
    """Start one program for every tile of rows of A, measure and, of A's gradient, dimensions."""
    if out.numel() == 0:
        return
    rows, measures, size = A.shape
    strides = [(1, 1) if g is None else g.stride() for g in gs]

    def run(config: Config) -> None:
        dimensions = min(power_of_2(size), config.dimensions)
        held = 1 if size <= dimensions else 2  # blocks of differences: the first, and another
        chunks = cdiv(size, dimensions) if gs else 1
        _device.launch(
            kernel, (cdiv(rows, ROWS), measures, chunks), A, A.stride(), B, B.stride(),
            *(part for pair in zip(gs, strides, strict=True) for part in pair), out,
            out.stride(), rows, len(B), size, 0 if skip is None else skip,
            SKIP=skip is not None, BLOCK_I=ROWS,
            BLOCK_J=max(1, config.values // (dimensions * held)), BLOCK_C=dimensions,
            ONE_BLOCK=held == 1, num_warps=1,
        )  # fmt: skip

    with torch.no_grad(), _device.guard(A):
        bucket = A.dtype, min(power_of_2(size), 64)
        _tuning.tuned(kernel, bucket, CONFIGS[kernel.__name__], run, A)
