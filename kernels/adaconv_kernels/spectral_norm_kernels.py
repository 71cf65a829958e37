"""The Triton kernels of spectral normalisation: each takes all weights of a network in one launch.

The second number of a program is that of its matrix W, (rows x columns). The state holds u and v of
each matrix at its start, and every σ behind all of them. Norms are formed by those who divide by
them, as they read what they divide::

    rows      s = W·v / |v|                   a row to a program; u's place holds s
    columns   t = Wᵀ·s / |s|                  a block of columns to a program; v's place holds t
    finish    u = s / |s|,  v = t / |t|,  σ = t·v     since W·u = t
    quotient  W / σ
    product   Σ g·W, in parts
    gradient  g / σ - (Σ g·W) / σ² · u·vᵀ
"""

# mypy: ignore-errors
# (Triton's language has the syntax of Python, not its types.)

import triton
import triton.language as tl
from triton.language import constexpr

from adaconv_kernels._promises import Promise

#: The pointers of all matrices are in registers until one of them is picked.
PROMISES = {
    "quotient_kernel": Promise(occupancy=0.4375),
    "gradient_kernel": Promise(occupancy=0.25),
}


@triton.jit
def _pick(values, COUNT: constexpr):
    """Return what belongs to the program's matrix."""
    found = values[0]
    for i in tl.static_range(1, COUNT):
        found = tl.where(tl.program_id(1) == i, values[i], found)
    return found


@triton.jit
def _at_least(value, least):
    return tl.where(value < least, least, value)  # NaN stays


@triton.jit
def _square(vector, count, BLOCK: constexpr):
    """Return the sum of a vector's squares."""
    total = tl.zeros((BLOCK,), tl.float32)
    for start in range(0, count, BLOCK):
        i = start + tl.arange(0, BLOCK)
        value = tl.load(vector + i, mask=i < count, other=0.0)
        total += value * value
    return tl.sum(total, 0)


@triton.jit
def rows_kernel(
    Ws, rows, columns, starts, sigmas, state, result,
    COUNT: constexpr, EPS: constexpr, NORMALISE: constexpr, BLOCK: constexpr,
):  # fmt: skip
    """Write s in the place of u; grid (rows, matrices)."""
    row = tl.program_id(0)
    if row >= _pick(rows, COUNT):
        return
    width = _pick(columns, COUNT)
    start = _pick(starts, COUNT)
    W = _pick(Ws, COUNT) + row.to(tl.int64) * width
    v = state + start + _pick(rows, COUNT)
    total = tl.zeros((BLOCK,), tl.float32)
    square = tl.zeros((BLOCK,), tl.float32)
    for first in range(0, width, BLOCK):
        i = first + tl.arange(0, BLOCK)
        factor = tl.load(v + i, mask=i < width, other=0.0)
        total += tl.load(W + i, mask=i < width, other=0.0).to(tl.float32) * factor
        square += factor * factor
    s = tl.sum(total, 0)
    if NORMALISE:
        s = s / _at_least(tl.sqrt_rn(tl.sum(square, 0)), EPS)
    tl.store(result + start + row, s)


@triton.jit
def columns_kernel(
    Ws, rows, columns, starts, sigmas, state,
    COUNT: constexpr, EPS: constexpr, BLOCK_R: constexpr, BLOCK_C: constexpr,
):  # fmt: skip
    """Write t in the place of v; grid (blocks of columns, matrices)."""
    c = tl.program_id(0) * BLOCK_C + tl.arange(0, BLOCK_C)
    height = _pick(rows, COUNT)
    width = _pick(columns, COUNT)
    if tl.program_id(0) * BLOCK_C >= width:
        return
    W = _pick(Ws, COUNT)
    s = state + _pick(starts, COUNT)
    total = tl.zeros((BLOCK_R, BLOCK_C), tl.float32)
    square = tl.zeros((BLOCK_R,), tl.float32)
    for first in range(0, height, BLOCK_R):
        r = first + tl.arange(0, BLOCK_R)
        factor = tl.load(s + r, mask=r < height, other=0.0)
        at = r.to(tl.int64)[:, None] * width + c[None, :]
        live = (r < height)[:, None] & (c < width)[None, :]
        total += tl.load(W + at, mask=live, other=0.0).to(tl.float32) * factor[:, None]
        square += factor * factor
    t = tl.sum(total, 0) / _at_least(tl.sqrt_rn(tl.sum(square, 0)), EPS)
    tl.store(s + height + c, t, mask=c < width)


@triton.jit
def _divide(vector, count, by, BLOCK: constexpr):
    for start in range(0, count, BLOCK):
        i = start + tl.arange(0, BLOCK)
        tl.store(vector + i, tl.load(vector + i, mask=i < count) / by, mask=i < count)


@triton.jit
def finish_kernel(
    Ws, rows, columns, starts, sigmas, state, products,
    COUNT: constexpr, EPS: constexpr, NORMALISE: constexpr, BLOCK: constexpr,
):  # fmt: skip
    """Write u, v and σ; where u and v stay, ``products`` has W·v; grid (1, matrices)."""
    height = _pick(rows, COUNT)
    width = _pick(columns, COUNT)
    u = state + _pick(starts, COUNT)
    v = u + height
    if NORMALISE:
        of_u = _at_least(tl.sqrt_rn(_square(u, height, BLOCK)), EPS)
        square = _square(v, width, BLOCK)
        of_v = _at_least(tl.sqrt_rn(square), EPS)
        tl.debug_barrier()  # all have read before one writes
        _divide(u, height, of_u, BLOCK)
        _divide(v, width, of_v, BLOCK)
        sigma = square / of_v
    else:
        s = products + _pick(starts, COUNT)
        total = tl.zeros((BLOCK,), tl.float32)
        for start in range(0, height, BLOCK):
            i = start + tl.arange(0, BLOCK)
            product = tl.load(s + i, mask=i < height, other=0.0)
            total += tl.load(u + i, mask=i < height, other=0.0) * product
        sigma = tl.sum(total, 0)
    tl.store(state + sigmas + tl.program_id(1), sigma)


@triton.jit
def _sigma(state, sigmas, EPS: constexpr):
    """Return σ, or what stands for it, and whether it vanishes."""
    sigma = tl.load(state + sigmas + tl.program_id(1))
    vanishes = tl.abs(sigma) < EPS
    return tl.where(vanishes, EPS, sigma), vanishes


@triton.jit
def _block(rows, columns, COUNT: constexpr, BLOCK: constexpr):
    """Return the values of the program's block, and which of them are in the matrix."""
    size = _pick(rows, COUNT).to(tl.int64) * _pick(columns, COUNT)
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    return i, i < size


@triton.jit
def quotient_kernel(
    Ws, rows, columns, starts, sigmas, state, results,
    COUNT: constexpr, EPS: constexpr, BLOCK: constexpr,
):  # fmt: skip
    """Write W / σ; grid (blocks of values, matrices)."""
    i, live = _block(rows, columns, COUNT, BLOCK)
    sigma, _ = _sigma(state, sigmas, EPS)
    value = tl.load(_pick(Ws, COUNT) + i, mask=live, other=0.0).to(tl.float32)
    tl.store(_pick(results, COUNT) + i, value / sigma, mask=live)


@triton.jit
def product_kernel(
    Ws, rows, columns, starts, sigmas, parts, gs,
    COUNT: constexpr, EPS: constexpr, BLOCK: constexpr,
):  # fmt: skip
    """Write Σ g·W of every block, (matrices, blocks); grid (blocks of values, matrices)."""
    i, live = _block(rows, columns, COUNT, BLOCK)
    value = tl.load(_pick(Ws, COUNT) + i, mask=live, other=0.0).to(tl.float32)
    g = tl.load(_pick(gs, COUNT) + i, mask=live, other=0.0).to(tl.float32)
    at = tl.program_id(1) * tl.num_programs(0) + tl.program_id(0)
    tl.store(parts + at, tl.sum(value * g, 0))


@triton.jit
def gradient_kernel(
    Ws, rows, columns, starts, sigmas, state, parts, gs, results,
    COUNT: constexpr, EPS: constexpr, BLOCK: constexpr, PARTS: constexpr,
):  # fmt: skip
    """Write the gradient of W; grid (blocks of values, matrices)."""
    height = _pick(rows, COUNT)
    width = _pick(columns, COUNT)
    i, live = _block(rows, columns, COUNT, BLOCK)
    if tl.program_id(0).to(tl.int64) * BLOCK >= height.to(tl.int64) * width:
        return
    blocks = tl.num_programs(0)
    product = tl.zeros((PARTS,), tl.float32)
    for start in range(0, blocks, PARTS):
        part = start + tl.arange(0, PARTS)
        at = tl.program_id(1) * blocks + part
        product += tl.load(parts + at, mask=part < blocks, other=0.0)
    sigma, vanishes = _sigma(state, sigmas, EPS)
    slope = tl.where(vanishes, 0.0, tl.sum(product, 0) / sigma / sigma)

    # Inside a block rows and columns need no division of 64 bits.
    first = tl.program_id(0).to(tl.int64) * BLOCK
    row = (first // width).to(tl.int32)
    column = (first - row.to(tl.int64) * width).to(tl.int32) + tl.arange(0, BLOCK)
    u = state + _pick(starts, COUNT)
    left = tl.load(u + row + column // width, mask=live, other=0.0)
    right = tl.load(u + height + column % width)
    g = tl.load(_pick(gs, COUNT) + i, mask=live, other=0.0).to(tl.float32)
    tl.store(_pick(results, COUNT) + i, g / sigma - slope * left * right, mask=live)
