"""Adaptive convolution on CUDA: allocation and the calls into csrc/cuda."""

import copy
import ctypes
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from adaconv import cuda
from adaconv.cpu._native import empty_picture
from adaconv.cuda._native import address, argument

#: Bytes that the backward pass may take at a time: the gradient of x by output pixel, and sign bits
#: that are made anew. The samples are cut so whether or not bits are kept: the sums are the same.
CHUNK_BYTES = 128 << 20


def allocate_outputs(
    x: Tensor, d: Tensor, P: Tensor, groups: int, save_signs: bool
) -> tuple[Tensor, Tensor]:
    """Return an uninitialised y, channels_last where x is, and words for the sign bits."""
    n, _, oh, ow = d.shape
    y = empty_picture((n, P.shape[0], oh, ow), x)
    return y, _allocate_signs(x, P, groups, n * oh * ow if save_signs else 0)


def _allocate_signs(x: Tensor, P: Tensor, groups: int, pixels: int) -> Tensor:
    """Return 32-bit words of the pixels' signs, see ``csrc/cuda/adaptive_conv_launch.cuh``."""
    outputs, taps = P.shape[0] // groups, P.shape[1:4].numel()
    of_word = 16 if outputs <= 16 else 32
    words = groups * -(-taps // (32 // of_word)) * -(-outputs // of_word)
    shape = (words, pixels) if pixels else (0,)
    return torch.empty(shape, dtype=torch.int32, device=x.device)


def allocate_gradients(
    x: Tensor, d: Tensor, P: Tensor, wanted: Sequence[bool], dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return uninitialised gradients of x, d, P and q; those that are not wanted are empty."""

    def like(tensor: Tensor, want: bool) -> Tensor:
        return torch.empty_like(tensor, dtype=dtype) if want else tensor.new_empty(0, dtype=dtype)

    gP, gq = (
        P.new_empty(shape if want else 0, dtype=dtype)
        for shape, want in zip((P.shape, P.shape[:4]), wanted[2:], strict=True)
    )
    return like(x, wanted[0]), like(d, wanted[1]), gP, gq


class _Call:
    """One call's arguments in the form that the kernels read them.

    Where x is float32 and d a half, so are all gradients.
    """

    STEM = "adaptive_conv"

    def __init__(self, x: Tensor, d: Tensor, P: Tensor, q: Tensor | None, options: tuple):
        stride, padding, dilation, groups, slope, upsample = options
        self.x, self.d, self.P = x, _rows(d), P.flatten(1, 3).contiguous()
        self.q = None if q is None else q.flatten(1).t().contiguous()
        self.area = d.shape[2] * d.shape[3]
        tf32 = torch.get_float32_matmul_precision() != "highest"
        numbers = (
            *P.shape[2:4], *stride, *padding, *dilation, *d.shape[2:], upsample, groups,
            cuda.library.processors(x.device), tf32, x.dtype == torch.float32,
        )  # fmt: skip
        self.options, self.slope = (ctypes.c_int * len(numbers))(*numbers), ctypes.c_float(slope)

    def part(self, samples: slice) -> "_Call":
        """Return the same call for some samples of the batch."""
        part = copy.copy(self)
        part.x, part.d = self.x[samples], self.d[self.pixels(samples)]
        return part

    def pixels(self, samples: slice) -> slice:
        """Return the pixels of some samples of the batch."""
        return slice(samples.start * self.area, samples.stop * self.area)

    def chunks(self, words: int) -> list[slice]:
        """Return the samples, as many at a time as :data:`CHUNK_BYTES` has room for."""
        a_sample = 4 * (words * self.area + self.scratch("backward_inputs", self.area))
        size = max(1, CHUNK_BYTES // a_sample)
        return [slice(i, min(i + size, len(self.x))) for i in range(0, len(self.x), size)]

    def scratch(self, function: str, pixels: int) -> int:
        """Return how many numbers of float32 a function needs to compute with."""
        return cuda.library.scratch_size(
            f"{self.STEM}_{function}", self.d, ctypes.c_int64(pixels), argument(self.P),
            self.options,
        )  # fmt: skip

    def forward(self, y: Tensor | None, b: Tensor | None, signs: Tensor | None) -> None:
        """Write y and the sign bits, or one of them."""
        memory = self._memory("forward", len(self.d))
        self._start(
            "forward", *map(argument, (self.q, b)), self.options, self.slope, argument(y),
            address(signs), address(memory),
        )  # fmt: skip

    def inputs(self, gy: Tensor, signs: Tensor, gx: Tensor | None, gd: Tensor | None) -> None:
        """Write the gradients of x and d."""
        memory = self._memory("backward_inputs", len(self.d))
        self._start(
            "backward_inputs", argument(self.q), address(signs), self.options, self.slope,
            *map(argument, (gx, gd)), address(memory), gy=gy,
        )  # fmt: skip

    def weights(
        self, gy: Tensor, signs: Tensor, pixels: int, memory: Tensor, *results: Tensor | None,
        first: bool,
    ) -> None:  # fmt: skip
        """Add to the sums of the gradients of P and q, and write these where they are given."""
        self._start(
            "backward_weights", address(signs), self.options, self.slope,
            ctypes.c_int64(pixels), not first, *map(argument, results), address(memory), gy=gy,
        )  # fmt: skip

    def _memory(self, function: str, pixels: int) -> Tensor:
        return self.x.new_empty(self.scratch(function, pixels), dtype=torch.float32)

    def _start(self, function: str, *more: Any, gy: Tensor | None = None) -> None:
        given = [t for t in (gy, self.x, self.d, self.P) if t is not None]
        cuda.library.call(f"{self.STEM}_{function}", self.d, *map(argument, given), *more)


def _rows(tensor: Tensor) -> Tensor:
    """Return (N, C, H, W) as a matrix (pixels, C)."""
    return tensor.permute(0, 2, 3, 1).reshape(-1, tensor.shape[1]).contiguous()


def forward(
    x: Tensor,
    d: Tensor,
    P: Tensor,
    q: Tensor | None,
    b: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    negative_slope: float,
    upsample: int,
    save_signs: bool,
) -> tuple[Tensor, Tensor]:
    """Compute y and, where asked for, the sign bits of the regressed weights."""
    y, signs = allocate_outputs(x, d, P, groups, save_signs)
    if y.numel() > 0:
        call = _Call(x, d, P, q, (stride, padding, dilation, groups, negative_slope, upsample))
        call.forward(y, b, signs if save_signs else None)
    return y, signs


def backward(
    gy: Tensor,
    x: Tensor,
    d: Tensor,
    P: Tensor,
    q: Tensor | None,
    signs: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    negative_slope: float,
    upsample: int,
    wanted: Sequence[bool],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Compute the gradients of x, d, P and q, those that are wanted.

    The gradients of x and d are made together, and those of P and q. Where no sign bits were kept,
    those of some samples are made anew at a time.
    """
    gradients = allocate_gradients(x, d, P, wanted, x.dtype)
    if gy.numel() == 0:
        for gradient in gradients:
            gradient.zero_()
        return gradients
    gx, gd, gP, gq = (g if want else None for g, want in zip(gradients, wanted, strict=True))
    call = _Call(x, d, P, q, (stride, padding, dilation, groups, negative_slope, upsample))
    words = len(_allocate_signs(x, P, groups, 1))
    chunks, rows = call.chunks(words), _rows(gy)
    pixels = chunks[0].stop * call.area
    of_weights = [gP is not None, gq is not None]
    memory = call._memory("backward_weights", pixels if any(of_weights) else 0)
    for some in chunks:
        part, of_part = call.part(some), call.pixels(some)
        if signs.numel() > 0:
            bits = signs[:, of_part].contiguous()
        else:
            bits = _allocate_signs(x, P, groups, len(part.d))
            part.forward(None, None, bits)
        part_gy = rows[of_part]
        if gx is not None or gd is not None:
            part.inputs(
                part_gy, bits, None if gx is None else gx[some], None if gd is None else gd[some]
            )
        if any(of_weights):
            last = some is chunks[-1]
            part.weights(
                part_gy, bits, pixels, memory, gP if last else None, gq if last else None,
                first=some is chunks[0],
            )  # fmt: skip
    return gradients
