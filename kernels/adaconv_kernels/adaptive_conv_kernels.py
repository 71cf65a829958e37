"""The Triton kernels of adaptive convolution; :mod:`adaconv_kernels.adaptive_conv` launches them.

With p a pixel of the output, j = (c, t) a tap of an input channel, and P_j the O x D matrix that
the weights of that tap are regressed by::

    z[p,j,o] = Σ_k d[p,k]·P_j[o,k] + q_j[o]                        a product on the tensor cores
    forward   y[p,o]   += Σ_j act(z[p,j,o])·x[p,j]
    inputs    u[p,j,o]  = act'(z[p,j,o])·gy[p,o]
              gx[p,j]   = Σ_o u[p,j,o]·z[p,j,o]                    since act(z) = act'(z)·z
              gd[p,k]  += Σ_{j,o} u[p,j,o]·x[p,j]·P_j[o,k]         a second product
    weights   gP_j[o,k] = Σ_p u[p,j,o]·x[p,j]·d[p,k]               a second product
              gq_j[o]   = Σ_p u[p,j,o]·x[p,j]

A step takes BLOCK_J taps times BLOCK_O outputs, the columns of the first product. No weight is ever
in memory: z lives in registers, and the backward pass makes it anew. What several programs share is
written apart and added up afterwards, so that every sum has one order.

Matrices lie in memory by rows: d (pixels, D), gy (pixels, O), P (O, J, D), q (J, O). Groups are
runs of O / groups outputs, whose J counts the channels of their group alone.

Factors in float32 are multiplied as TERMS numbers of float16, see :mod:`adaconv_kernels._products`;
where SCALED is false, they are the tensors' own float16 or bfloat16.
"""

# mypy: ignore-errors
# (Triton's language has the syntax of Python, not its types.)

import triton
import triton.language as tl
from triton.language import constexpr

from adaconv_kernels._products import (
    accumulate,
    load,
    multiply,
    read_scales,
    terms,
    transposed,
)
from adaconv_kernels._promises import Promise

#: Tiles fill the registers: what hides the memory's latency are the loads of later steps, not other
#: warps. Some of the configurations that were the fastest on an H100, with kernels of 3x3, spill a
#: little; most with a kernel of one tap, for which there was no search.
PROMISES = {
    "forward_kernel": Promise(products=1, occupancy=0.0625, spilled=4),
    "inputs_kernel": Promise(products=2, occupancy=0.0625, spilled=124),
    "weights_kernel": Promise(products=2, occupancy=0.0625, spilled=52),
}


@triton.jit
def activate(z, SLOPE: constexpr):
    """Return the leaky ReLU of z."""
    if SLOPE == 0:
        w = tl.maximum(z, 0.0, propagate_nan=tl.PropagateNan.ALL)
    else:
        w = tl.where(z > 0, z, z * SLOPE)
    return w


@triton.jit
def gate(z, g, SLOPE: constexpr):
    """Multiply g by the derivative of the activation at z."""
    return tl.where(z > 0, g, g * SLOPE)


@triton.jit
def run_of(count, parts, part):
    """Return the bounds of one of ``parts`` runs that ``count`` is cut into."""
    size = tl.cdiv(count, parts)
    return part * size, tl.minimum(count, (part + 1) * size)


@triton.jit
def pixels_of(rows, picture):
    """Return n, oh, ow of output pixels."""
    _, _, OH, OW = picture
    row = rows // OW
    return row // OH, row % OH, rows % OW


@triton.jit
def patches_of(
    x, x_strides, picture, pixel, live, channel, j, J, geometry: constexpr, TAPS: constexpr
):
    """Load x under taps j for a tile of pixels, [M, J], as float32; 0 outside the picture."""
    KW: constexpr = geometry[0]
    U: constexpr = geometry[7]
    H, W, _, _ = picture
    n, oh, ow = pixel
    tap = j % TAPS
    ih = (oh * geometry[1] - geometry[3])[:, None] + (tap // KW * geometry[5])[None, :]
    iw = (ow * geometry[2] - geometry[4])[:, None] + (tap % KW * geometry[6])[None, :]
    inside = (ih >= 0) & (ih < H * U) & (iw >= 0) & (iw < W * U)
    inside = inside & live[:, None] & (j < J)[None, :]
    s_n, s_c, s_h, s_w = x_strides
    picture_at = n.to(tl.int64)[:, None] * s_n + ((channel + j // TAPS).to(tl.int64) * s_c)[None, :]
    at = picture_at + (ih // U).to(tl.int64) * s_h + (iw // U) * s_w
    return tl.load(x + at, mask=inside, other=0.0).to(tl.float32)


@triton.jit
def finish(z, q, q_at, q_live, z_scale, HAS_Q: constexpr, SCALED: constexpr):
    """Undo the scales of the factors and add the bias."""
    if SCALED:
        z = z * z_scale
    if HAS_Q:
        z += tl.load(q + q_at, mask=q_live, other=0.0).to(tl.float32)
    return z


@triton.jit
def regress(
    d, d_term, d_rows, d_live, P, P_term, P_rows, P_live, q, q_at, D, z_scale,
    HAS_Q: constexpr, SCALED: constexpr, TERMS: constexpr, BLOCK_D: constexpr,
):  # fmt: skip
    """Return z of tiles of whole rows, (pixels, columns), with D in blocks."""
    z = tl.zeros((d_rows.shape[0], P_rows.shape[0]), tl.float32)
    for start in range(0, D, BLOCK_D):
        k = start + tl.arange(0, BLOCK_D)
        a = load(d, d_term, d_rows[:, None] + k, d_live[:, None] & (k < D), TERMS)
        b = load(P, P_term, P_rows[:, None] + k, P_live[:, None] & (k < D), TERMS)
        z = multiply(a, transposed(b, TERMS), z, TERMS)
    return finish(z, q, q_at, P_live, z_scale, HAS_Q, SCALED)


@triton.jit
def forward_kernel(
    x, x_strides, d, d_term, P, P_term, q, scales, y, picture, pixels, J, D, outputs, group_outputs,
    geometry: constexpr, SLOPE: constexpr, TAPS: constexpr, HAS_Q: constexpr, SCALED: constexpr,
    TERMS: constexpr,
    BLOCK_M: constexpr, BLOCK_J: constexpr, BLOCK_O: constexpr, BLOCK_D: constexpr,
    ONE_BLOCK: constexpr,
):  # fmt: skip
    """Write y of one run of taps: (splits, pixels, outputs); grid (tiles, output tiles, splits)."""
    rows = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    live = rows < pixels
    tiles = tl.cdiv(group_outputs, BLOCK_O)
    group = tl.program_id(1) // tiles
    first_output = (tl.program_id(1) % tiles) * BLOCK_O
    columns = tl.arange(0, BLOCK_J * BLOCK_O)
    o = first_output + columns % BLOCK_O
    o_live = o < group_outputs
    o += group * group_outputs
    jj = columns // BLOCK_O
    first, last = run_of(tl.cdiv(J, BLOCK_J), tl.num_programs(2), tl.program_id(2))

    of_d, of_P, _ = read_scales(scales, SCALED)
    z_scale = 1.0 / (of_d * of_P)
    pixel = pixels_of(rows, picture)
    d_rows = rows.to(tl.int64) * D
    P_rows = o.to(tl.int64) * J * D + jj * D
    k = tl.arange(0, BLOCK_D)
    if ONE_BLOCK:
        d_tile = load(d, d_term, d_rows[:, None] + k, live[:, None] & (k < D), TERMS)
    total = tl.zeros((BLOCK_M, BLOCK_J, BLOCK_O), tl.float32)
    for step in range(first, last):
        j = step * BLOCK_J
        P_live = o_live & (j + jj < J)
        q_at = (j + jj) * outputs + o
        if ONE_BLOCK:
            P_tile = load(
                P, P_term, P_rows[:, None] + (j * D + k), P_live[:, None] & (k < D), TERMS
            )
            z = tl.zeros((BLOCK_M, BLOCK_J * BLOCK_O), tl.float32)
            z = multiply(d_tile, transposed(P_tile, TERMS), z, TERMS)
            z = finish(z, q, q_at, P_live, z_scale, HAS_Q, SCALED)
        else:
            z = regress(
                d, d_term, d_rows, live, P + j * D, P_term, P_rows, P_live, q, q_at, D,
                z_scale, HAS_Q, SCALED, TERMS, BLOCK_D,
            )  # fmt: skip
        patches = patches_of(
            x, x_strides, picture, pixel, live, group * (J // TAPS), j + tl.arange(0, BLOCK_J), J,
            geometry, TAPS,
        )  # fmt: skip
        w = activate(z, SLOPE).reshape(BLOCK_M, BLOCK_J, BLOCK_O)
        total += w * patches[:, :, None]
    o = first_output + tl.arange(0, BLOCK_O)
    to = (tl.program_id(2) * pixels + rows).to(tl.int64) * outputs + group * group_outputs
    mask = live[:, None] & (o < group_outputs)
    tl.store(y + to[:, None] + o, tl.sum(total, 1), mask=mask)


@triton.jit
def inputs_kernel(
    x, x_strides, d, d_term, P, P_term, q, scales, gy, gx, gd, picture, pixels, J, D, outputs,
    group_outputs,
    geometry: constexpr, SLOPE: constexpr, TAPS: constexpr, HAS_Q: constexpr, SCALED: constexpr,
    TERMS: constexpr,
    BLOCK_M: constexpr, BLOCK_J: constexpr, BLOCK_O: constexpr, BLOCK_D: constexpr,
    ONE_BLOCK: constexpr, ONE_TILE: constexpr, D_BLOCKS: constexpr,
):  # fmt: skip
    """Write gx by output pixel, (groups·J, pixels), and gd of a run of taps, (splits, pixels, D).

    Grid (tiles, groups, splits · blocks of D); a split counts for each group.
    """
    rows = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    live = rows < pixels
    group = tl.program_id(1)
    D_block = tl.program_id(2) % D_BLOCKS
    split = tl.program_id(2) // D_BLOCKS
    first, last = run_of(tl.cdiv(J, BLOCK_J), tl.num_programs(2) // D_BLOCKS, split)

    of_d, of_P, of_u = read_scales(scales, SCALED)
    z_scale = 1.0 / (of_d * of_P)
    pixel = pixels_of(rows, picture)
    d_rows = rows.to(tl.int64) * D
    gy_rows = rows.to(tl.int64) * outputs + group * group_outputs
    columns = tl.arange(0, BLOCK_J * BLOCK_O)
    oo = columns % BLOCK_O
    jj = columns // BLOCK_O
    o = tl.arange(0, BLOCK_O)
    k = D_block * BLOCK_D + tl.arange(0, BLOCK_D)
    k_live = k < D
    if ONE_BLOCK:
        d_tile = load(d, d_term, d_rows[:, None] + k, live[:, None] & k_live, TERMS)
    if ONE_TILE:
        gy_mask = live[:, None] & (o < group_outputs)
        gy_tile = tl.load(gy + gy_rows[:, None] + o, mask=gy_mask, other=0.0).to(tl.float32)
    total = tl.zeros((BLOCK_M, BLOCK_D), tl.float32)
    for step in range(first, last):
        j = step * BLOCK_J + tl.arange(0, BLOCK_J)
        patches = patches_of(
            x, x_strides, picture, pixel, live, group * (J // TAPS), j, J, geometry, TAPS
        )
        gx_tile = tl.zeros((BLOCK_M, BLOCK_J), tl.float32)
        for start in range(0, 1 if ONE_TILE else group_outputs, BLOCK_O):
            if not ONE_TILE:
                gy_mask = live[:, None] & (start + o < group_outputs)
                gy_tile = tl.load(
                    gy + gy_rows[:, None] + (start + o), mask=gy_mask, other=0.0
                ).to(tl.float32)  # fmt: skip
            all_j = step * BLOCK_J + jj
            all_o = group * group_outputs + start + oo
            P_live = (start + oo < group_outputs) & (all_j < J)
            P_rows = (all_o.to(tl.int64) * J + all_j) * D
            q_at = all_j * outputs + all_o
            P_tile = load(P, P_term, P_rows[:, None] + k, P_live[:, None] & k_live, TERMS)
            if ONE_BLOCK:
                z = tl.zeros((BLOCK_M, BLOCK_J * BLOCK_O), tl.float32)
                z = multiply(d_tile, transposed(P_tile, TERMS), z, TERMS)
                z = finish(z, q, q_at, P_live, z_scale, HAS_Q, SCALED)
            else:
                z = regress(
                    d, d_term, d_rows, live, P, P_term, P_rows, P_live, q, q_at, D,
                    z_scale, HAS_Q, SCALED, TERMS, BLOCK_D,
                )  # fmt: skip
            z = z.reshape(BLOCK_M, BLOCK_J, BLOCK_O)
            u = gate(z, gy_tile[:, None, :], SLOPE)
            gx_tile += tl.sum(u * z, 2)
            scaled = (u * (patches * of_u)[:, :, None]).reshape(BLOCK_M, BLOCK_J * BLOCK_O)
            scaled = terms(scaled, P.dtype.element_ty, TERMS)
            total = accumulate(scaled, P_tile, total, TERMS)  # [M, D]
        gx_at = (group * J + j).to(tl.int64)[None, :] * pixels + rows[:, None]
        gx_mask = live[:, None] & (j < J)[None, :] & (D_block == 0)
        tl.store(gx + gx_at, gx_tile, mask=gx_mask)
    to = ((split * tl.num_programs(1) + group) * pixels + rows).to(tl.int64) * D
    tl.store(gd + to[:, None] + k, total * (1.0 / (of_P * of_u)), mask=live[:, None] & k_live)


@triton.jit
def weights_kernel(
    x, x_strides, d, d_term, P, P_term, q, scales, gy, gP, gq, picture, pixels, J, D, outputs,
    group_outputs,
    geometry: constexpr, SLOPE: constexpr, TAPS: constexpr, HAS_Q: constexpr, SCALED: constexpr,
    TERMS: constexpr,
    BLOCK_M: constexpr, BLOCK_J: constexpr, BLOCK_O: constexpr, BLOCK_D: constexpr,
    ONE_BLOCK: constexpr, D_BLOCKS: constexpr,
):  # fmt: skip
    """Write gP and gq of a run of pixels, (splits, outputs, J, D) and (splits, J, outputs).

    Grid (blocks of taps, output tiles · blocks of D, splits).
    """
    j = tl.program_id(0) * BLOCK_J
    D_block = tl.program_id(1) % D_BLOCKS
    tile = tl.program_id(1) // D_BLOCKS
    tiles = tl.cdiv(group_outputs, BLOCK_O)
    group = tile // tiles
    first_output = (tile % tiles) * BLOCK_O
    columns = tl.arange(0, BLOCK_J * BLOCK_O)
    o = first_output + columns % BLOCK_O
    all_j = j + columns // BLOCK_O
    P_live = (o < group_outputs) & (all_j < J)
    o += group * group_outputs
    first, last = run_of(tl.cdiv(pixels, BLOCK_M), tl.num_programs(2), tl.program_id(2))

    of_d, of_P, of_u = read_scales(scales, SCALED)
    z_scale = 1.0 / (of_d * of_P)
    k = D_block * BLOCK_D + tl.arange(0, BLOCK_D)
    k_live = k < D
    P_rows = (o.to(tl.int64) * J + all_j) * D
    q_at = all_j * outputs + o
    if ONE_BLOCK:
        P_tile = load(P, P_term, P_rows[:, None] + k, P_live[:, None] & k_live, TERMS)
    gy_columns = first_output + tl.arange(0, BLOCK_O)
    gy_live = gy_columns < group_outputs
    gy_columns += group * group_outputs
    total = tl.zeros((BLOCK_J * BLOCK_O, BLOCK_D), tl.float32)
    # Lanes of the tensor cores' results that hold the same columns are added up at the end alone:
    # of 64 rows, a warp has 16, and a thread those at a distance of 8.
    total_q = tl.zeros((4, 8, BLOCK_J * BLOCK_O), tl.float32)
    for block in range(first, last):
        rows = block * BLOCK_M + tl.arange(0, BLOCK_M)
        live = rows < pixels
        d_rows = rows.to(tl.int64) * D
        d_tile = load(d, d_term, d_rows[:, None] + k, live[:, None] & k_live, TERMS)  # [M, D]
        if ONE_BLOCK:
            z = tl.zeros((BLOCK_M, BLOCK_J * BLOCK_O), tl.float32)
            z = multiply(d_tile, transposed(P_tile, TERMS), z, TERMS)
            z = finish(z, q, q_at, P_live, z_scale, HAS_Q, SCALED)
        else:
            z = regress(
                d, d_term, d_rows, live, P, P_term, P_rows, P_live, q, q_at, D,
                z_scale, HAS_Q, SCALED, TERMS, BLOCK_D,
            )  # fmt: skip
        patches = patches_of(
            x, x_strides, picture, pixels_of(rows, picture), live, group * (J // TAPS),
            j + tl.arange(0, BLOCK_J), J, geometry, TAPS,
        )  # fmt: skip
        gy_tile = tl.load(
            gy + rows.to(tl.int64)[:, None] * outputs + gy_columns,
            mask=live[:, None] & gy_live, other=0.0,
        ).to(tl.float32)  # fmt: skip
        z = z.reshape(BLOCK_M, BLOCK_J, BLOCK_O)
        scaled = gate(z, gy_tile[:, None, :], SLOPE) * (patches * of_u)[:, :, None]
        by_lane = scaled.reshape(BLOCK_M // 64, 4, 2, 8, BLOCK_J * BLOCK_O)
        total_q += tl.sum(tl.sum(by_lane, 2), 0)
        scaled = terms(scaled.reshape(BLOCK_M, BLOCK_J * BLOCK_O), d.dtype.element_ty, TERMS)
        total = accumulate(transposed(scaled, TERMS), d_tile, total, TERMS)  # [J·O, D]
    split = tl.program_id(2).to(tl.int64)
    to = ((split * outputs + o) * J + all_j) * D
    tl.store(gP + to[:, None] + k, total * (1.0 / (of_d * of_u)), mask=P_live[:, None] & k_live)
    if HAS_Q:
        once = P_live & (D_block == 0)
        total_q = tl.sum(tl.sum(total_q, 1), 0) * (1.0 / of_u)
        tl.store(gq + split * J * outputs + q_at, total_q, mask=once)


@triton.jit
def gather_kernel(
    columns, gx, gx_strides, picture, count, pixels,
    geometry: constexpr, TAPS: constexpr, BLOCK: constexpr,
):  # fmt: skip
    """Add up, for every input pixel, gx of the output pixels that read it, (channels·taps, pixels).

    Grid (tiles of the pixels of all pictures, channels).
    """
    KW: constexpr = geometry[0]
    U: constexpr = geometry[7]
    H, W, OH, OW = picture
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    live = i < count
    w = i % W
    h = (i // W) % H
    n = i // (W * H)
    c = tl.program_id(1)
    total = tl.zeros((BLOCK,), tl.float32)
    for tap in tl.static_range(TAPS):
        for u in tl.static_range(U * U):
            top = h * U + (u // U + geometry[3] - (tap // KW) * geometry[5])
            left = w * U + (u % U + geometry[4] - (tap % KW) * geometry[6])
            oh = top // geometry[1]
            ow = left // geometry[2]
            reads = (top >= 0) & (top % geometry[1] == 0) & (oh < OH)
            reads = reads & (left >= 0) & (left % geometry[2] == 0) & (ow < OW) & live
            at = (c * TAPS + tap).to(tl.int64) * pixels + ((n * OH + oh) * OW + ow)
            total += tl.load(columns + at, mask=reads, other=0.0)
    s_n, s_c, s_h, s_w = gx_strides
    tl.store(
        gx + n.to(tl.int64) * s_n + c.to(tl.int64) * s_c + h.to(tl.int64) * s_h + w * s_w,
        total,
        mask=live,
    )
