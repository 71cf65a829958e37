"""The Triton kernels of the gradients of local adaptive convolution.

What they compute stands in :mod:`adaconv_kernels.local_adaptive_kernels`.
"""

# mypy: ignore-errors
# (Triton's language has the syntax of Python, not its types.)

import triton
import triton.language as tl
from triton.language import constexpr

from adaconv_kernels._products import accumulate, load, read_scale, transposed
from adaconv_kernels._promises import Promise
from adaconv_kernels.adaptive_conv_kernels import gate, run_of
from adaconv_kernels.local_adaptive_kernels import (
    filter_at,
    matrix_row,
    neighbour,
    patches_of,
    slots_of,
    start_of,
    store,
    weights_of,
)

PROMISES = {
    "input_kernel": Promise(products=1, occupancy=0.125),
    "weights_kernel": Promise(products=1, occupancy=0.125),
    "features_kernel": Promise(products=1, occupancy=0.125),
    "matrix_kernel": Promise(products=1, occupancy=0.125),
}


@triton.jit
def share_kernel(
    gy, gy_row, a, a_strides, scales, u, u_term, picture, first, points, outputs,
    geometry: constexpr, SCALED: constexpr, TERMS: constexpr,
    BLOCK_M: constexpr, BLOCK_N: constexpr,
):  # fmt: skip
    """Write u, (points, slots, outputs), 0 in slots without a pixel.

    Grid (tiles of the slots of all points, tiles of outputs, 1).
    """
    _, _, OH, OW, GH, GW, RH, RW = picture
    row = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    o = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    exists = row < points * (RH * RW)
    point = first + row // (RH * RW)
    n, h, w, live = slots_of(point, row % (RH * RW), picture, geometry)
    live = live & exists
    SIDE: constexpr = geometry[10]
    factor = tl.zeros((BLOCK_M,), tl.float32)
    for step in range(SIDE * SIDE):
        own = live & (neighbour(h, step // SIDE, GH, geometry) == point // GW % GH)
        own = own & (neighbour(w, step % SIDE, GW, geometry) == point % GW)
        at = filter_at(a_strides, n, h, w, step)
        factor += tl.load(a + at, mask=own, other=0.0).to(tl.float32)
    pixel = (n.to(tl.int64) * OH + h) * OW + w
    g = tl.load(
        gy + pixel[:, None] * gy_row + o, mask=live[:, None] & (o < outputs)[None, :], other=0.0
    ).to(tl.float32)
    value = factor[:, None] * g * read_scale(scales, 4, SCALED)
    to = row.to(tl.int64)[:, None] * outputs + o
    store(u, u_term, to, value, exists[:, None] & (o < outputs)[None, :], TERMS)


@triton.jit
def input_kernel(
    u, u_term, W, W_term, scales, gx, channels, picture, outputs, group_outputs,
    geometry: constexpr, SLOPE: constexpr, TAPS: constexpr, DEPTH: constexpr, SCALED: constexpr,
    TERMS: constexpr, BLOCK_M: constexpr, BLOCK_N: constexpr, BLOCK_K: constexpr,
):  # fmt: skip
    """Write gx of each point, (points, pixels that its patches have, channels).

    Grid (tiles of these pixels of all points, tiles of the channels of all groups, 1).
    """
    _, _, _, _, _, _, RH, RW = picture
    KW: constexpr = geometry[0]
    IH = (RH - 1) * geometry[1] + (geometry[8] - 1) * geometry[5] + 1
    IW = (RW - 1) * geometry[2] + (KW - 1) * geometry[6] + 1
    tiles = tl.cdiv(IH * IW, BLOCK_M)
    point = (tl.program_id(0) // tiles).to(tl.int64)
    i = tl.program_id(0) % tiles * BLOCK_M + tl.arange(0, BLOCK_M)
    c_tiles = tl.cdiv(DEPTH, BLOCK_N)
    group = tl.program_id(1) // c_tiles
    c = tl.program_id(1) % c_tiles * BLOCK_N + tl.arange(0, BLOCK_N)
    J = TAPS * group_outputs
    total = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    for start in range(0, J, BLOCK_K):
        j = start + tl.arange(0, BLOCK_K)
        tap = j // group_outputs
        o = group * group_outputs + j % group_outputs
        top = (i // IW)[:, None] - (tap // KW * geometry[5])[None, :]
        left = (i % IW)[:, None] - (tap % KW * geometry[6])[None, :]
        down = top // geometry[1]
        across = left // geometry[2]
        reads = (top >= 0) & (top % geometry[1] == 0) & (down < RH) & (j < J)[None, :]
        reads = reads & (left >= 0) & (left % geometry[2] == 0) & (across < RW)
        u_at = (point * (RH * RW) + down * RW + across) * outputs + o[None, :]
        shares = load(u, u_term, u_at, reads, TERMS)
        W_at = (point * outputs + o) * (TAPS * DEPTH) + tap * DEPTH
        mask = (j < J)[:, None] & (c < DEPTH)[None, :]
        weights = weights_of(W, W_term, W_at[:, None] + c, mask, SLOPE, TERMS)
        total = accumulate(shares, weights, total, TERMS)
    total *= 1.0 / (read_scale(scales, 4, SCALED) * read_scale(scales, 3, SCALED))
    to = (point * (IH * IW) + i)[:, None] * channels + (group * DEPTH + c)[None, :]
    tl.store(gx + to, total, mask=(i < IH * IW)[:, None] & (c < DEPTH)[None, :])


@triton.jit
def gather_kernel(
    parts, gx, gx_row, picture, start, stop, first, points, channels,
    geometry: constexpr, BLOCK_M: constexpr, BLOCK_N: constexpr,
):  # fmt: skip
    """Add to gx, (pixels, C), what comes from some points; grid (tiles, tiles of channels, 1)."""
    H, W, _, _, GH, GW, RH, RW = picture
    KW: constexpr = geometry[0]
    U: constexpr = geometry[7]
    EXTENT: constexpr = geometry[9] * geometry[10] - 1
    LONG: constexpr = EXTENT * geometry[1] + (geometry[8] - 1) * geometry[5] + 1
    WIDE: constexpr = EXTENT * geometry[2] + (KW - 1) * geometry[6] + 1
    DOWN: constexpr = (LONG - 1) // (geometry[9] * geometry[1]) + 1
    ACROSS: constexpr = (WIDE - 1) // (geometry[9] * geometry[2]) + 1
    IH = (RH - 1) * geometry[1] + (geometry[8] - 1) * geometry[5] + 1
    IW = (RW - 1) * geometry[2] + (KW - 1) * geometry[6] + 1
    rows = start + tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    c = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    n, h, w = rows // W // H, rows // W % H, rows % W
    to = rows.to(tl.int64)[:, None] * gx_row + c
    mask = (rows < stop)[:, None] & (c < channels)[None, :]
    total = tl.load(gx + to, mask=mask, other=0.0)
    for step in range(U * U * DOWN * ACROSS):
        phase = step // (DOWN * ACROSS)
        ih = h * U + (phase // U + geometry[3])
        iw = w * U + (phase % U + geometry[4])
        # The last point whose pixels begin so early that they read this one, or one before it.
        row = (ih // geometry[1] - start_of(0, geometry)) // geometry[9] - step // ACROSS % DOWN
        column = (iw // geometry[2] - start_of(0, geometry)) // geometry[9] - step % ACROSS
        down = ih - tl.maximum(start_of(row, geometry), 0) * geometry[1]
        across = iw - tl.maximum(start_of(column, geometry), 0) * geometry[2]
        point = (n * GH + row) * GW + column - first
        reads = (row >= 0) & (row < GH) & (down < IH) & (point >= 0) & (point < points)
        reads = reads & (column >= 0) & (column < GW) & (across < IW)
        at = (point.to(tl.int64) * (IH * IW) + down * IW + across)[:, None] * channels + c
        total += tl.load(parts + at, mask=reads[:, None] & (c < channels)[None, :], other=0.0)
    tl.store(gx + to, total, mask=mask)


@triton.jit
def weights_kernel(
    x, x_term, channels, u, u_term, W, W_term, scales, picture, first, outputs, group_outputs,
    geometry: constexpr, SLOPE: constexpr, TAPS: constexpr, DEPTH: constexpr, SCALED: constexpr,
    TERMS: constexpr, BLOCK_M: constexpr, BLOCK_N: constexpr, BLOCK_K: constexpr,
):  # fmt: skip
    """Replace W by its gradient before the activation.

    Grid (points, tiles of taps of tiles of the outputs of all groups, 1).
    """
    _, _, _, _, _, _, RH, RW = picture
    K: constexpr = TAPS * DEPTH
    tiles = tl.cdiv(K, BLOCK_N)
    o_tiles = tl.cdiv(group_outputs, BLOCK_M)
    point = tl.program_id(0)
    j = tl.program_id(1) % tiles * BLOCK_N + tl.arange(0, BLOCK_N)
    group = tl.program_id(1) // tiles // o_tiles
    o = tl.program_id(1) // tiles % o_tiles * BLOCK_M + tl.arange(0, BLOCK_M)
    o_live = o < group_outputs
    o += group * group_outputs
    total = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    for start in range(0, RH * RW, BLOCK_K):
        slot = start + tl.arange(0, BLOCK_K)
        n, h, w, live = slots_of(first + point, slot, picture, geometry)
        patches = patches_of(
            x + group * DEPTH, x_term, n, h, w, live, j, K, channels, picture, geometry, DEPTH,
            TERMS,
        )  # fmt: skip
        u_at = (point.to(tl.int64) * (RH * RW) + slot)[:, None] * outputs + o
        shares = load(u, u_term, u_at, live[:, None] & o_live[None, :], TERMS)
        total = accumulate(transposed(shares, TERMS), patches, total, TERMS)
    at = (point.to(tl.int64) * outputs + o)[:, None] * K + j
    mask = o_live[:, None] & (j < K)[None, :]
    total *= read_scale(scales, 5, SCALED) / (
        read_scale(scales, 2, SCALED) * read_scale(scales, 4, SCALED)
    )
    weights = tl.load(W + at, mask=mask, other=0.0)
    store(W, W_term, at, gate(weights > 0, total, SLOPE), mask, TERMS)


@triton.jit
def features_kernel(
    gW, gW_term, P, P_term, scales, gd, points, weights, D,
    TAPS: constexpr, DEPTH: constexpr, SCALED: constexpr, TERMS: constexpr,
    BLOCK_M: constexpr, BLOCK_N: constexpr, BLOCK_D: constexpr,
):  # fmt: skip
    """Write gd of a run of weights, (splits, points, D); grid (tiles, blocks of D, splits)."""
    rows = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    k = tl.program_id(1) * BLOCK_D + tl.arange(0, BLOCK_D)
    first, last = run_of(tl.cdiv(weights, BLOCK_N), tl.num_programs(2), tl.program_id(2))
    live = rows < points
    total = tl.zeros((BLOCK_M, BLOCK_D), tl.float32)
    for step in range(first, last):
        weight = step * BLOCK_N + tl.arange(0, BLOCK_N)
        gW_at = rows.to(tl.int64)[:, None] * weights + weight
        w_live = weight < weights
        slopes = load(gW, gW_term, gW_at, live[:, None] & w_live[None, :], TERMS)
        P_at = matrix_row(weight, TAPS, DEPTH).to(tl.int64)[:, None] * D + k
        matrix = load(P, P_term, P_at, w_live[:, None] & (k < D)[None, :], TERMS)
        total = accumulate(slopes, matrix, total, TERMS)
    total *= 1.0 / (read_scale(scales, 5, SCALED) * read_scale(scales, 1, SCALED))
    to = (tl.program_id(2) * points + rows).to(tl.int64)[:, None] * D + k
    tl.store(gd + to, total, mask=live[:, None] & (k < D)[None, :])


@triton.jit
def matrix_kernel(
    gW, gW_term, d, d_term, scales, gP, gq, points, weights, D,
    TAPS: constexpr, DEPTH: constexpr, SCALED: constexpr, TERMS: constexpr,
    BLOCK_M: constexpr, BLOCK_N: constexpr, BLOCK_D: constexpr,
):  # fmt: skip
    """Write gP and gq of a run of points, (splits, O, C, T, D) and without D.

    Grid (tiles of weights, blocks of D, splits).
    """
    weight = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    k = tl.program_id(1) * BLOCK_D + tl.arange(0, BLOCK_D)
    first, last = run_of(tl.cdiv(points, BLOCK_M), tl.num_programs(2), tl.program_id(2))
    w_live = weight < weights
    total = tl.zeros((BLOCK_N, BLOCK_D), tl.float32)
    total_q = tl.zeros((BLOCK_N,), tl.float32)
    for step in range(first, last):
        rows = step * BLOCK_M + tl.arange(0, BLOCK_M)
        live = rows < points
        gW_at = rows.to(tl.int64)[:, None] * weights + weight
        slopes = load(gW, gW_term, gW_at, live[:, None] & w_live[None, :], TERMS)
        d_at = rows.to(tl.int64)[:, None] * D + k
        features = load(d, d_term, d_at, live[:, None] & (k < D)[None, :], TERMS)
        for term in tl.static_range(TERMS):
            total_q += tl.sum(slopes[term].to(tl.float32), 0)
        total = accumulate(transposed(slopes, TERMS), features, total, TERMS)
    of_gW = read_scale(scales, 5, SCALED)
    total *= 1.0 / (of_gW * read_scale(scales, 0, SCALED))
    to = tl.program_id(2).to(tl.int64) * weights + matrix_row(weight, TAPS, DEPTH)
    tl.store(gP + to[:, None] * D + k, total, mask=w_live[:, None] & (k < D)[None, :])
    tl.store(gq + to, total_q * (1.0 / of_gW), mask=w_live & (tl.program_id(1) == 0))
