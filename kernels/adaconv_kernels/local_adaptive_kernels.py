"""The Triton kernels of local adaptive convolution, see :mod:`adaconv_kernels.local_adaptive`.

A point g of the grid has W_g, the weights (O, K) that are regressed there, K being the taps (t, c)
of a group's channels, and a window of slots: the rectangle of output pixels p that have it as a
neighbour. With X the patches of its pixels and a_g the sum of those filter values of a pixel that
belong to g, there are products on the tensor cores, of matrices of many points or of one,

    regress   W[g,(o,t,c)] = act(Σ_k d[g,k]·P[(o,t,c),k] + q)
    apply     Z_g[p,o]     = Σ_{t,c} X[p,(t,c)]·W_g[o,(t,c)]
    input     gx_g[i,c]    = Σ_{t,o} u_g[p,o]·W_g[o,(t,c)]        of the p with p + t = i
    weights   gW_g[o,(t,c)] = act'·Σ_p u_g[p,o]·X[p,(t,c)]        with u_g[p,o] = a_g[p]·gy[p,o]
    features  gd[g,k]      = Σ_{o,t,c} gW[g,(o,t,c)]·P[(o,t,c),k]
    matrix    gP[(o,t,c),k] = Σ_g gW[g,(o,t,c)]·d[g,k],            gq[o,t,c] without d

and between them go, over what lies at pixels and what lies at points,

    mix       y[p,o]  = Σ_j a_j[p]·Z_{g_j(p)}[p,o]
    filters   ga_j[p] = Σ_o gy[p,o]·Z_{g_j(p)}[p,o]
    gather    gx[i,c] = Σ_g gx_g[i,c]

Matrices lie in memory by rows: x (pixels, C), gy (pixels, O), d (points, D), P (O, C, T, D),
W (points, O, T, C). Groups are blocks of outputs with channels of their own. In memory W has the
sign of what was activated, which where the slope is negative is not its own.
"""

# mypy: ignore-errors
# (Triton's language has the syntax of Python, not its types.)

import triton
import triton.language as tl
from triton.language import constexpr

from adaconv_kernels._products import _exponent, accumulate, load, read_scale, terms, transposed
from adaconv_kernels._promises import Promise
from adaconv_kernels.adaptive_conv_kernels import activate, regress

#: Tiles fill the registers; where there are few, loads of all neighbours are on their way at once.
PROMISES = {
    "regress_kernel": Promise(products=1, occupancy=0.125),
    "apply_kernel": Promise(products=1, occupancy=0.125),
    "mix_kernel": Promise(occupancy=0.25),
}


@triton.jit
def scale_kernel(
    largest, scales, D, SLOTS, BACKWARD: constexpr, HAS_Q: constexpr, STEEP: constexpr,
    LARGEST: constexpr, J: constexpr,
):  # fmt: skip
    """Write the scales of d, P, x, W, u and gW from largest magnitudes; grid (1,).

    They are powers of two by which the factors of products fit float16. Magnitudes are those of d,
    P, x, then gy and a, then q; of W, u and gW they are bounds.
    """
    of_d = tl.load(largest)
    of_P = tl.load(largest + 1)
    of_x = tl.load(largest + 2)
    of_W = of_d * of_P * D
    if HAS_Q:
        of_W += tl.load(largest + (5 if BACKWARD else 3))
    _store_scale(scales, of_d, LARGEST)
    _store_scale(scales + 1, of_P, LARGEST)
    _store_scale(scales + 2, of_x, LARGEST)
    _store_scale(scales + 3, of_W * STEEP, LARGEST)
    if BACKWARD:
        of_u = tl.load(largest + 3) * tl.load(largest + 4) * J
        _store_scale(scales + 4, of_u, LARGEST)
        _store_scale(scales + 5, of_u * of_x * SLOTS * STEEP, LARGEST)


@triton.jit
def _store_scale(scale, largest, LARGEST: constexpr):
    tl.store(scale, tl.exp2(LARGEST - _exponent(largest, LARGEST)))


@triton.jit
def start_of(point, geometry: constexpr):
    """Return the first pixel of a point in one direction; it may lie before the picture."""
    return (point - geometry[10] + 2) * geometry[9] - geometry[11]


@triton.jit
def neighbour(pixel, i, points, geometry: constexpr):
    """Return the i-th neighbour of a pixel in one direction."""
    first = (pixel + geometry[11]) // geometry[9] - 1
    return tl.minimum(tl.maximum(first + i, 0), points - 1)


@triton.jit
def slots_of(point, slot, picture, geometry: constexpr):
    """Return n, h, w of slots of points, and whether the point has such a pixel."""
    _, _, OH, OW, GH, GW, _, RW = picture
    top = start_of(point // GW % GH, geometry)
    left = start_of(point % GW, geometry)
    h = tl.maximum(top, 0) + slot // RW
    w = tl.maximum(left, 0) + slot % RW
    extent: constexpr = geometry[9] * geometry[10]
    live = (h < tl.minimum(top + extent, OH)) & (w < tl.minimum(left + extent, OW))
    return point // GW // GH, h, w, live


@triton.jit
def _place_of(n, h, w, step, picture, first, points, geometry: constexpr):
    """Return where in a chunk of points a pixel's neighbour has its slot, and if it is there."""
    _, _, _, _, GH, GW, RH, RW = picture
    SIDE: constexpr = geometry[10]
    row = neighbour(h, step // SIDE, GH, geometry)
    column = neighbour(w, step % SIDE, GW, geometry)
    point = (n * GH + row) * GW + column - first
    down = h - tl.maximum(start_of(row, geometry), 0)
    across = w - tl.maximum(start_of(column, geometry), 0)
    return point.to(tl.int64) * (RH * RW) + down * RW + across, (point >= 0) & (point < points)


@triton.jit
def filter_at(a_strides, n, h, w, step):
    """Return where a has the filter values of pixels for one of their neighbours."""
    s_n, s_j, s_h, s_w = a_strides
    return n.to(tl.int64) * s_n + step * s_j + h.to(tl.int64) * s_h + w.to(tl.int64) * s_w


@triton.jit
def matrix_row(weight, TAPS: constexpr, DEPTH: constexpr):
    """Return the row of P, (o, c, t), that regresses a weight (o, t, c)."""
    K: constexpr = TAPS * DEPTH
    return weight // K * K + weight % DEPTH * TAPS + weight % K // DEPTH


@triton.jit
def patches_of(
    x, x_term, n, h, w, live, j, J, channels, picture, geometry: constexpr, DEPTH: constexpr,
    TERMS: constexpr,
):  # fmt: skip
    """Load x under taps j for a tile of pixels, [M, J]; 0 outside the picture."""
    H, W, _, _, _, _, _, _ = picture
    KW: constexpr = geometry[0]
    U: constexpr = geometry[7]
    tap = j // DEPTH
    ih = (h * geometry[1] - geometry[3])[:, None] + (tap // KW * geometry[5])[None, :]
    iw = (w * geometry[2] - geometry[4])[:, None] + (tap % KW * geometry[6])[None, :]
    inside = (ih >= 0) & (ih < H * U) & (iw >= 0) & (iw < W * U)
    inside = inside & live[:, None] & (j < J)[None, :]
    pixel = (n.to(tl.int64) * H + ih // U) * W + iw // U
    return load(x, x_term, pixel * channels + (j % DEPTH)[None, :], inside, TERMS)


@triton.jit
def weights_of(W, W_term, at, mask, SLOPE: constexpr, TERMS: constexpr):
    """Load weights; where the slope is negative, their signs are made their own."""
    tiles = load(W, W_term, at, mask, TERMS)
    if SLOPE < 0:
        sign = tl.where(tiles[0] < 0, -1.0, 1.0).to(tiles[0].dtype)
        turned = (tiles[0] * sign,)
        if TERMS == 2:
            turned += (tiles[1] * sign,)
        tiles = turned
    return tiles


@triton.jit
def store(matrix, term, at, values, mask, TERMS: constexpr):
    """Store float32 values as a sum of numbers of the matrix's type."""
    tiles = terms(values, matrix.dtype.element_ty, TERMS)
    tl.store(matrix + at, tiles[0], mask=mask)
    if TERMS == 2:
        tl.store(matrix + term + at, tiles[1], mask=mask)


@triton.jit
def regress_kernel(
    d, d_term, P, P_term, q, scales, W, W_term, points, weights, D,
    SLOPE: constexpr, TAPS: constexpr, DEPTH: constexpr, HAS_Q: constexpr, SCALED: constexpr,
    TERMS: constexpr, BLOCK_M: constexpr, BLOCK_N: constexpr, BLOCK_D: constexpr,
):  # fmt: skip
    """Write W; grid (tiles of weights, tiles of points, 1)."""
    weight = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    rows = tl.program_id(1) * BLOCK_M + tl.arange(0, BLOCK_M)
    at = matrix_row(weight, TAPS, DEPTH)
    scale = 1.0 / (read_scale(scales, 0, SCALED) * read_scale(scales, 1, SCALED))
    z = regress(
        d, d_term, rows.to(tl.int64) * D, rows < points, P, P_term, at.to(tl.int64) * D,
        weight < weights, q, at, D, scale, HAS_Q, SCALED, TERMS, BLOCK_D,
    )  # fmt: skip
    w = activate(z, SLOPE) * read_scale(scales, 3, SCALED)
    to = rows.to(tl.int64)[:, None] * weights + weight
    store(W, W_term, to, w, (rows < points)[:, None] & (weight < weights)[None, :], TERMS)


@triton.jit
def apply_kernel(
    x, x_term, channels, W, W_term, scales, gy, gy_row, Z, picture, first, outputs, group_outputs,
    geometry: constexpr, SLOPE: constexpr, TAPS: constexpr, DEPTH: constexpr, SCALED: constexpr,
    TERMS: constexpr, GRADIENT: constexpr,
    BLOCK_M: constexpr, BLOCK_N: constexpr, BLOCK_K: constexpr,
):  # fmt: skip
    """Write Z, (points, slots, outputs), or with GRADIENT Σ_o gy·Z, (points, slots, parts).

    Grid (tiles of the slots of all points, tiles of the outputs of all groups, 1).
    """
    _, _, OH, OW, _, _, RH, RW = picture
    tiles = tl.cdiv(RH * RW, BLOCK_M)
    point = tl.program_id(0) // tiles
    slot = tl.program_id(0) % tiles * BLOCK_M + tl.arange(0, BLOCK_M)
    n, h, w, live = slots_of(first + point, slot, picture, geometry)
    o_tiles = tl.cdiv(group_outputs, BLOCK_N)
    group = tl.program_id(1) // o_tiles
    o = tl.program_id(1) % o_tiles * BLOCK_N + tl.arange(0, BLOCK_N)
    o_live = o < group_outputs
    o += group * group_outputs
    K: constexpr = TAPS * DEPTH
    W_rows = (point.to(tl.int64) * outputs + o) * K
    total = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    for start in range(0, K, BLOCK_K):
        j = start + tl.arange(0, BLOCK_K)
        patches = patches_of(
            x + group * DEPTH, x_term, n, h, w, live, j, K, channels, picture, geometry, DEPTH,
            TERMS,
        )  # fmt: skip
        weights = weights_of(
            W, W_term, W_rows[:, None] + j, o_live[:, None] & (j < K)[None, :], SLOPE, TERMS
        )
        total = accumulate(patches, transposed(weights, TERMS), total, TERMS)
    total *= 1.0 / (read_scale(scales, 2, SCALED) * read_scale(scales, 3, SCALED))
    to = point.to(tl.int64) * (RH * RW) + slot
    mask = live[:, None] & o_live[None, :]
    if GRADIENT:
        pixel = (n.to(tl.int64) * OH + h) * OW + w
        g = tl.load(gy + pixel[:, None] * gy_row + o, mask=mask, other=0.0).to(tl.float32)
        to = to * tl.num_programs(1) + tl.program_id(1)
        tl.store(Z + to, tl.sum(total * g, 1), mask=live)
    else:
        tl.store(Z + to[:, None] * outputs + o, total, mask=mask)


@triton.jit
def mix_kernel(
    Z, a, a_strides, y, y_row, picture, start, stop, first, points, outputs,
    geometry: constexpr, BLOCK_M: constexpr, BLOCK_N: constexpr,
):  # fmt: skip
    """Add to y, (pixels, O), what comes from some points; grid (tiles, tiles of outputs, 1)."""
    _, _, OH, OW, _, _, _, _ = picture
    rows = start + tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    o = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    n, h, w = rows // OW // OH, rows // OW % OH, rows % OW
    to = rows.to(tl.int64)[:, None] * y_row + o
    mask = (rows < stop)[:, None] & (o < outputs)[None, :]
    total = tl.load(y + to, mask=mask, other=0.0)
    for step in range(geometry[10] * geometry[10]):
        place, there = _place_of(n, h, w, step, picture, first, points, geometry)
        at = place[:, None] * outputs + o
        value = tl.load(Z + at, mask=there[:, None] & (o < outputs)[None, :], other=0.0)
        factor = tl.load(a + filter_at(a_strides, n, h, w, step), mask=there, other=0.0)
        total += factor.to(tl.float32)[:, None] * value
    tl.store(y + to, total, mask=mask)


@triton.jit
def filters_kernel(
    sums, parts, ga, picture, start, first, points, geometry: constexpr, BLOCK_M: constexpr
):
    """Add to ga, (pixels, J), the sums over outputs at some points; grid (tiles, 1, 1)."""
    _, _, OH, OW, _, _, _, _ = picture
    J: constexpr = geometry[10] * geometry[10]
    rows = start + tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    n, h, w = rows // OW // OH, rows // OW % OH, rows % OW
    for step in tl.static_range(J):
        place, there = _place_of(n, h, w, step, picture, first, points, geometry)
        to = rows.to(tl.int64) * J + step
        total = tl.load(ga + to, mask=there, other=0.0)
        for part in range(parts):
            total += tl.load(sums + place * parts + part, mask=there, other=0.0)
        tl.store(ga + to, total, mask=there)
