"""Products on the tensor cores: float32 as numbers of float16.

A factor in float32 is multiplied as TERMS numbers of float16, of 11 bits each, one matrix behind
the other: three products give float32's accuracy, one that of tf32, at twice its rate. So that they
fit float16's range, factors are scaled by powers of two. float16 and bfloat16 are what they are.
"""

# mypy: ignore-errors
# (Triton's language has the syntax of Python, not its types.)

import math
from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.language import constexpr

from adaconv_kernels import INTERPRETED
from adaconv_kernels._device import cdiv, launch

#: :func:`torch.get_float32_matmul_precision` → numbers of float16 that stand for one of float32.
TERMS = {"highest": 2, "high": 1, "medium": 1}

#: Factors of float32 are scaled until the largest lies below 2 to this power, in float16's range.
LARGEST = 15


def is_split(dtype: torch.dtype) -> bool:
    """Whether factors of this type are multiplied as numbers of float16."""
    return dtype == torch.float32 and not INTERPRETED


def scales(d: Tensor, P: Tensor, u: Sequence[Tensor], slope: float) -> Tensor:
    """Return the powers of two by which d, P, the product of ``u`` and its first fit float16."""
    tensors = [d, P, *u]
    largest = torch.stack(torch._foreach_norm(tensors, float("inf")))
    result = largest.new_empty(4)
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
    """Write the scales of d, P, u·x and u from the largest in d, P, gy and x; grid (1,).

    A tensor that is not finite is not scaled: what its infinities meet is not finite either way.
    """
    tl.store(scales, tl.exp2(LARGEST - _exponent(tl.load(largest), LARGEST)))
    tl.store(scales + 1, tl.exp2(LARGEST - _exponent(tl.load(largest + 1), LARGEST)))
    if U:
        e = _exponent(tl.load(largest + 2), LARGEST // 2)
        e += _exponent(tl.load(largest + 3), LARGEST - LARGEST // 2)
        tl.store(scales + 2, tl.exp2(LARGEST - SLACK - e))
        e = _exponent(tl.load(largest + 2), LARGEST)
        tl.store(scales + 3, tl.exp2(LARGEST - SLACK - e))


def factor(tensor: Tensor, scale: Tensor | None) -> Tensor:
    """Return the contiguous tensor as (terms, ...) of a type that the tensor cores multiply.

    The interpreter has no arithmetic in bfloat16: it gets float32.
    """
    if INTERPRETED:
        return tensor.float()[None]
    if scale is None:
        return tensor[None]
    number = TERMS[torch.get_float32_matmul_precision()]
    result = tensor.new_empty((number, *tensor.shape), dtype=torch.float16)
    count = tensor.numel()
    grid = cdiv(count, 1024), 1, 1
    launch(split_kernel, grid, tensor, result, scale, count, TERMS=number, BLOCK=1024)
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


@triton.jit
def load(matrix, term, offsets, mask, TERMS: constexpr):
    """Load a tile of each term; ``term`` is the distance from one to the next."""
    tiles = (tl.load(matrix + offsets, mask=mask, other=0.0),)
    if TERMS == 2:
        tiles += (tl.load(matrix + term + offsets, mask=mask, other=0.0),)
    return tiles


@triton.jit
def terms(values, dtype: constexpr, TERMS: constexpr):
    """Write float32 values as a sum of numbers of a shorter type."""
    tiles = (values.to(dtype),)
    if TERMS == 2:
        tiles += ((values - tiles[0].to(tl.float32)).to(dtype),)
    return tiles


@triton.jit
def multiply(a, b, total, TERMS: constexpr):
    """Add a · b; the product of the two small terms is beyond float32."""
    if TERMS == 2:
        total = tl.dot(a[1], b[0], total, input_precision="ieee")
        total = tl.dot(a[0], b[1], total, input_precision="ieee")
    return tl.dot(a[0], b[0], total, input_precision="ieee")


@triton.jit
def accumulate(a, b, total, TERMS: constexpr):
    """Add a · b to a total of many such products.

    Tensor cores cut off what does not fit as they add, which shows in float32 after many sums.
    """
    if TERMS == 2:
        zero = tl.zeros(total.shape, tl.float32)
        total += multiply(a, b, zero, TERMS)
    else:
        total = multiply(a, b, total, TERMS)
    return total


@triton.jit
def add_up(a, ones, total, TERMS: constexpr):
    """Add the sums over the columns of a: a product with ones, whose result has them in each."""
    sums = tl.zeros(total.shape, tl.float32)
    if TERMS == 2:
        sums = tl.dot(a[1], ones, sums, input_precision="ieee")
    return total + tl.dot(a[0], ones, sums, input_precision="ieee")


@triton.jit
def transposed(tiles, TERMS: constexpr):
    turned = (tiles[0].T,)
    if TERMS == 2:
        turned += (tiles[1].T,)
    return turned


@triton.jit
def value(tiles, TERMS: constexpr):
    """Return what the terms stand for, in float32."""
    total = tiles[0].to(tl.float32)
    if TERMS == 2:
        total += tiles[1].to(tl.float32)
    return total


@triton.jit
def read_scale(scales, which: constexpr, SCALED: constexpr):
    """Return one of the scales, in the order that the kernel wrote them which made them."""
    scale = 1.0
    if SCALED:
        scale = tl.load(scales + which)
    return scale


@triton.jit
def read_scales(scales, SCALED: constexpr):
    """Return the scales of d, P and u·x."""
    return (
        read_scale(scales, 0, SCALED),
        read_scale(scales, 1, SCALED),
        read_scale(scales, 2, SCALED),
    )
