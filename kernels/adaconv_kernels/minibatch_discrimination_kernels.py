"""The Triton kernels of minibatch discrimination.

Rows i are lanes: of the differences of a tile, (BLOCK_C, BLOCK_J, BLOCK_I), a thread has all that
belong to its row, so that no sum needs another thread, and only the rows of the second set are read
over and over, from the cache. A program has the pairs of its rows with one j after another; what is
in registers is all that ever exists of them. The backward pass forms them anew::

    forward   o[i]    = Σ_j k[i,j],   k[i,j] = exp(-Σ_c |A[i,c] - B[j,c]|)
    backward  gA[i,c] = -Σ_j (g[i] + h[j])·k[i,j]·sign(A[i,c] - B[j,c])

for one measure b. The gradient of the first set has g alone, that of the second one, whose rows
take the place of A, has h alone, and that of a set which is compared with itself has both.
"""

# mypy: ignore-errors
# (Triton's language has the syntax of Python, not its types.)

import triton
import triton.language as tl
from triton.language import constexpr

from adaconv_kernels._promises import Promise

#: A thread holds all differences of its rows: what it does with them needs no memory.
PROMISES = {
    "forward_kernel": Promise(occupancy=0.125),
    "backward_kernel": Promise(occupancy=0.125),
}


@triton.jit
def _rows(A, strides, measure, rows, count, c, size):
    """Load A[rows, measure, c] as float32, (len(c), len(rows)); 0 outside."""
    s_n, s_b, s_c = strides
    at = (measure.to(tl.int64) * s_b + rows.to(tl.int64) * s_n)[None, :]
    at += (c.to(tl.int64) * s_c)[:, None]
    live = (c < size)[:, None] & (rows < count)[None, :]
    return tl.load(A + at, mask=live, other=0.0).to(tl.float32)


@triton.jit
def _differences(A, A_strides, B, B_strides, measure, i, rows, j, others, c, size):
    """Return A[i,c] - B[j,c], (len(c), len(j), len(i))."""
    a = _rows(A, A_strides, measure, i, rows, c, size)
    b = _rows(B, B_strides, measure, j, others, c, size)
    return a[:, None, :] - b[:, :, None]


@triton.jit
def _closeness(
    A, A_strides, B, B_strides, measure, i, rows, j, others, size, skip,
    SKIP: constexpr, BLOCK_C: constexpr, ONE_BLOCK: constexpr,
):  # fmt: skip
    """Return k of a tile, (len(j), len(i)), 0 of pairs that do not count; and the differences.

    They are those of the first BLOCK_C dimensions, which are all where there is ONE_BLOCK.
    """
    c = tl.arange(0, BLOCK_C)
    first = _differences(A, A_strides, B, B_strides, measure, i, rows, j, others, c, size)
    distances = tl.sum(tl.abs(first), 0)
    if not ONE_BLOCK:
        for start in range(BLOCK_C, size, BLOCK_C):
            more = _differences(
                A, A_strides, B, B_strides, measure, i, rows, j, others, start + c, size
            )
            distances += tl.sum(tl.abs(more), 0)
    counts = (j < others)[:, None]
    if SKIP:
        counts = counts & (j[:, None] != i[None, :] + skip)
    return tl.where(counts, tl.exp(-distances), 0.0), first


@triton.jit
def forward_kernel(
    A, A_strides, B, B_strides, o, o_strides, rows, others, size, skip,
    SKIP: constexpr, BLOCK_I: constexpr, BLOCK_J: constexpr, BLOCK_C: constexpr,
    ONE_BLOCK: constexpr,
):  # fmt: skip
    """Write o; grid (tiles of rows, measures, 1)."""
    i = tl.program_id(0) * BLOCK_I + tl.arange(0, BLOCK_I)
    measure = tl.program_id(1)
    total = tl.zeros((BLOCK_J, BLOCK_I), tl.float32)
    for start in range(0, others, BLOCK_J):
        j = start + tl.arange(0, BLOCK_J)
        k, _ = _closeness(
            A, A_strides, B, B_strides, measure, i, rows, j, others, size, skip, SKIP, BLOCK_C,
            ONE_BLOCK,
        )  # fmt: skip
        total += k
    s_n, s_b = o_strides
    at = i.to(tl.int64) * s_n + measure.to(tl.int64) * s_b
    tl.store(o + at, tl.sum(total, 0), mask=i < rows)


@triton.jit
def backward_kernel(
    A, A_strides, B, B_strides, g, g_strides, h, h_strides, gA, gA_strides,
    rows, others, size, skip,
    SKIP: constexpr, BLOCK_I: constexpr, BLOCK_J: constexpr, BLOCK_C: constexpr,
    ONE_BLOCK: constexpr,
):  # fmt: skip
    """Write the gradient of A; grid (tiles of rows, measures, chunks of dimensions)."""
    i = tl.program_id(0) * BLOCK_I + tl.arange(0, BLOCK_I)
    measure = tl.program_id(1)
    c = tl.program_id(2) * BLOCK_C + tl.arange(0, BLOCK_C)
    of_row = tl.zeros((BLOCK_I,), tl.float32)
    if g is not None:
        g_at = i.to(tl.int64) * g_strides[0] + measure.to(tl.int64) * g_strides[1]
        of_row = tl.load(g + g_at, mask=i < rows, other=0.0).to(tl.float32)
    total = tl.zeros((BLOCK_C, BLOCK_I), tl.float32)
    for start in range(0, others, BLOCK_J):
        j = start + tl.arange(0, BLOCK_J)
        k, difference = _closeness(
            A, A_strides, B, B_strides, measure, i, rows, j, others, size, skip, SKIP, BLOCK_C,
            ONE_BLOCK,
        )  # fmt: skip
        if not ONE_BLOCK:
            difference = _differences(
                A, A_strides, B, B_strides, measure, i, rows, j, others, c, size
            )
        slope = of_row[None, :]
        if h is not None:
            h_at = j.to(tl.int64) * h_strides[0] + measure.to(tl.int64) * h_strides[1]
            slope = slope + tl.load(h + h_at, mask=j < others, other=0.0).to(tl.float32)[:, None]
        slope = (slope * k)[None, :, :]
        # A NaN has a sign as well, so that it is not lost.
        signed = tl.where(difference > 0, -slope, slope)
        total += tl.sum(tl.where(difference == 0, 0.0, signed), 1)
    s_n, s_b, s_c = gA_strides
    at = (i.to(tl.int64) * s_n + measure.to(tl.int64) * s_b)[None, :]
    at += (c.to(tl.int64) * s_c)[:, None]
    tl.store(gA + at, total, mask=(c < size)[:, None] & (i < rows)[None, :])
