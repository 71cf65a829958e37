"""Local adaptive convolution on CUDA: allocation and the calls into csrc/cuda."""

import ctypes
from collections.abc import Sequence

import torch
from torch import Tensor

from adaconv import cuda
from adaconv.cpu.local_adaptive import Gradients, allocate_gradients, allocate_output
from adaconv.cuda._native import address, argument

__all__ = ["allocate_gradients", "allocate_output", "backward", "forward"]

#: Bytes that what belongs to some points of the grid may take: their weights for some outputs, and
#: sums over them for the pixels around.
CHUNK_BYTES = 96 << 20

#: There are fewer points than these at a time only where one output for each takes too much; else
#: there are fewer outputs, so that the regression matrix is not read again for a few points.
LEAST_POINTS = 128


class _Call:
    """One call's arguments in the form that the kernels read them."""

    def __init__(
        self, x: Tensor, d: Tensor, P: Tensor, q: Tensor | None, a: Tensor, options: tuple
    ):
        pitch, stride, padding, dilation, groups, slope, upsample = options
        self.x, self.d, self.P = _last(x), _last(d), P.flatten(2, 3).contiguous()
        self.q, self.a = None if q is None else _last(q), a
        tf32 = torch.get_float32_matmul_precision() != "highest"
        numbers = (
            *P.shape[2:4], *stride, *padding, *dilation, *a.shape[2:], upsample, groups,
            cuda.library.processors(x.device), tf32, False, pitch, CHUNK_BYTES, LEAST_POINTS,
        )  # fmt: skip
        self.options, self.slope = (ctypes.c_int * len(numbers))(*numbers), ctypes.c_float(slope)

    def start(self, function: str, gy: Tensor | None, *totals: Tensor | None) -> None:
        """Add to the totals; without a gy those of the forward pass."""
        function = f"local_adaptive_{function}"
        upstream = [] if gy is None else [_last(gy)]
        results = [argument(total) for total in totals]
        sizes = map(argument, (self.x, self.d, self.P, self.a))
        numbers = cuda.library.scratch_size(function, self.x, *sizes, self.options, *results)
        memory = self.x.new_empty(numbers, dtype=torch.float32)
        given = map(argument, (*upstream, self.x, self.d, self.P, self.q, self.a))
        cuda.library.call(
            function, self.x, *given, self.options, self.slope, *results,
            address(memory),
        )  # fmt: skip


def _last(tensor: Tensor) -> Tensor:
    """Return the tensor with the channels, dimension 1, behind the two places in memory."""
    return tensor.movedim(1, 3).contiguous().movedim(3, 1)


def _zeros(like: Tensor) -> Tensor:
    """Return zeros of float32 that lie so."""
    shape = like.movedim(1, 3).shape
    return torch.zeros(shape, dtype=torch.float32, device=like.device).movedim(3, 1)


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
    total = _zeros(y) if b is None else _zeros(y).copy_(b)
    options = pitch, stride, padding, dilation, groups, negative_slope, upsample
    _Call(x, d, P, q, a, options).start("forward", None, total)
    return y.copy_(total)


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
    """Compute the gradients of all arguments but b, those that are wanted."""
    gradients = allocate_gradients(x, d, P, a, wanted)
    if gy.numel() == 0:
        for gradient in gradients:
            gradient.zero_()
        return gradients
    options = pitch, stride, padding, dilation, groups, negative_slope, upsample
    likes = x, d, P, P[..., 0], a
    totals = [_zeros(t) if want else None for t, want in zip(likes, wanted, strict=True)]
    _Call(x, d, P, q, a, options).start("backward", gy, *totals)
    for gradient, total in zip(gradients, totals, strict=True):
        if total is not None:
            gradient.copy_(total)
    return gradients
