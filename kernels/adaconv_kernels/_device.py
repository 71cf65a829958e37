"""What the kernels ask of the device that runs them, and factors as its tensor cores take them."""

import contextlib
import functools
import math
from collections.abc import Sequence
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.language import constexpr

from adaconv_kernels import INTERPRETED

#: :func:`torch.get_float32_matmul_precision` → numbers of float16 that stand for one of float32.
TERMS = {"highest": 2, "high": 1, "medium": 1}

#: Factors of float32 are scaled until the largest lies below 2 to this power, in float16's range.
LARGEST = 15


def cdiv(a: int, b: int) -> int:
    """Return a / b, rounded up; Triton's own does it, and much slower."""
    return -(-a // b)


def power_of_2(least: int) -> int:
    """Return the least power of two that is no smaller."""
    return 1 << (least - 1).bit_length()


@functools.cache
def _processors(device: torch.device) -> int:
    return torch.cuda.get_device_properties(device).multi_processor_count


def processors(tensor: Tensor) -> int:
    """Return the number of multiprocessors; 1 in Triton's interpreter, which has CPU tensors."""
    return _processors(tensor.device) if tensor.is_cuda else 1


def guard(tensor: Tensor) -> contextlib.AbstractContextManager[Any]:
    """Return a scope whose launches go to the device of the tensor."""
    return torch.cuda.device(tensor.device) if tensor.is_cuda else contextlib.nullcontext()


_compiled: dict[tuple, Any] = {}


def launch(kernel: Any, grid: tuple[int, int, int], *args: Any, **constants: Any) -> None:
    """Run a kernel on its arguments, in their order, and its constants.

    What was compiled for arguments alike is kept: Triton's own look-up takes longer than many a
    kernel.
    """
    if INTERPRETED:
        kernel[grid](*args, **constants)
        return
    key = (kernel, torch.cuda.current_device(), *map(_alike, args), *constants.items())
    compiled = _compiled.get(key)
    if compiled is None:
        _compiled[key] = kernel[grid](*args, **constants)
    else:
        compiled[grid](*args, *(constants[name] for name in kernel.arg_names[len(args) :]))


def _alike(argument: Any) -> Any:
    """Return what Triton compiles for: of tensors the type and whether they are aligned."""
    if isinstance(argument, Tensor):
        return argument.dtype, argument.data_ptr() % 16 == 0
    return argument


def is_split(dtype: torch.dtype) -> bool:
    """Whether factors of this type are multiplied as numbers of float16."""
    return dtype == torch.float32 and not INTERPRETED


def scales(d: Tensor, P: Tensor, u: Sequence[Tensor], slope: float) -> Tensor:
    """Return the powers of two by which d, P and the product of ``u`` fit float16's range."""
    tensors = [d, P, *u]
    largest = torch.stack(torch._foreach_norm(tensors, float("inf")))
    result = largest.new_empty(3)
    slack = max(0, math.ceil(math.log2(abs(slope)))) if slope else 0
    launch(scale_kernel, (1, 1, 1), largest, result, U=bool(u), LARGEST=LARGEST, SLACK=slack)
    return result


@triton.jit
def _exponent(largest, otherwise):
    """Return e of the least 2^e above a number, and something else where that is not finite."""
    e = tl.floor(tl.log2(tl.maximum(largest, 1e-18))) + 1
    return tl.where(largest < 1e18, e, otherwise)


@triton.jit
def scale_kernel(
    largest, scales, U: constexpr, LARGEST: constexpr, SLACK: constexpr
):  # fmt: skip
    """Write the scales of d, P and u·x from the largest magnitudes in d, P, gy and x; grid (1,).

    A tensor that is not finite is not scaled: what its infinities meet is not finite either way.
    """
    tl.store(scales, tl.exp2(LARGEST - _exponent(tl.load(largest), LARGEST)))
    tl.store(scales + 1, tl.exp2(LARGEST - _exponent(tl.load(largest + 1), LARGEST)))
    if U:
        e = _exponent(tl.load(largest + 2), LARGEST // 2)
        e += _exponent(tl.load(largest + 3), LARGEST - LARGEST // 2)
        tl.store(scales + 2, tl.exp2(LARGEST - SLACK - e))


def factor(tensor: Tensor, scale: Tensor | None) -> Tensor:
    """Return the contiguous tensor as (terms, ...) of a type that the tensor cores multiply.

    The interpreter has no arithmetic in bfloat16: it gets float32.
    """
    if INTERPRETED:
        return tensor.float()[None]
    if scale is None:
        return tensor[None]
    terms = TERMS[torch.get_float32_matmul_precision()]
    result = tensor.new_empty((terms, *tensor.shape), dtype=torch.float16)
    count = tensor.numel()
    grid = cdiv(count, 1024), 1, 1
    launch(split_kernel, grid, tensor, result, scale, count, TERMS=terms, BLOCK=1024)
    return result


@triton.jit
def split_kernel(source, result, scale, count, TERMS: constexpr, BLOCK: constexpr):
    """Write float32 numbers, scaled, as (TERMS, count) of float16; grid (blocks,)."""
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(source + i, mask=i < count, other=0.0) * tl.load(scale)
    first = value.to(tl.float16)
    tl.store(result + i, first, mask=i < count)
    if TERMS == 2:
        rest = (value - first.to(tl.float32)).to(tl.float16)
        tl.store(result + count + i, rest, mask=i < count)
