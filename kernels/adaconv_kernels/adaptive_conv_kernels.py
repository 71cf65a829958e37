"""The Triton kernels of adaptive convolution; :mod:`adaconv_kernels.adaptive_conv` launches them.

With p a pixel of the output, j = (c, t) a tap of an input channel, and P_j the O x D matrix that
the weights of that tap are regressed by, each kernel has one product on the tensor cores::

    forward   z[p,j,o]  = Σ_k d[p,k]·P_j[o,k] + q_j[o]
              y[p,o]   += Σ_j act(z[p,j,o])·x[p,j]                and whether z is positive, a bit
    inputs    u[p,j,o]  = act'(z[p,j,o])·gy[p,o]                  of the bit alone
              R[p,j,k]  = Σ_o u[p,j,o]·P_j[o,k]
              gx[p,j]   = Σ_k R[p,j,k]·d[p,k] + Σ_o u[p,j,o]·q_j[o]   since act(z) = act'(z)·z
              gd[p,k]   = Σ_j R[p,j,k]·x[p,j]
    weights   gP_j[o,k] = Σ_p u[p,j,o]·x[p,j]·d[p,k]
              gq_j[o]   = Σ_p u[p,j,o]·x[p,j]

No weight is ever in memory: z lives in registers, and all that the gradients need of it is the bit,
see :mod:`adaconv_kernels._signs`. Where the bits were not kept, the forward kernel makes them anew,
without y: a fourth product. What several programs share is written apart and added up afterwards,
so that every sum has one order.

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
    add_up,
    load,
    multiply,
    read_scale,
    read_scales,
    terms,
    transposed,
    value,
)
from adaconv_kernels._promises import Promise
from adaconv_kernels._signs import pack, unpack, words_of

#: Tiles fill the registers: what hides the memory's latency are the loads of later steps, not other
#: warps.
PROMISES = {
    "forward_kernel": Promise(products=1, occupancy=0.0625),
    "inputs_kernel": Promise(products=1, occupancy=0.125),
    "weights_kernel": Promise(products=2, occupancy=0.0625),
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
def gate(positive, g, SLOPE: constexpr):
    """Multiply g by the derivative of the activation at z, of which the sign is enough."""
    return tl.where(positive, g, g * SLOPE)


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
    x, x_strides, d, d_term, P, P_term, q, scales, y, signs, signs_stride, picture, pixels, J, D,
    outputs, group_outputs,
    geometry: constexpr, SLOPE: constexpr, TAPS: constexpr, HAS_Q: constexpr, SCALED: constexpr,
    TERMS: constexpr, SIGN_O: constexpr,
    BLOCK_M: constexpr, BLOCK_J: constexpr, BLOCK_O: constexpr, BLOCK_D: constexpr,
    ONE_BLOCK: constexpr,
):  # fmt: skip
    """Write y of one run of taps, (splits, pixels, outputs), and the sign bits; either may be None.

    Grid (tiles, output tiles, splits). A step takes BLOCK_J taps times BLOCK_O outputs, the columns
    of the product.
    """
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
    word = tl.arange(0, BLOCK_J * BLOCK_O // 32) * 32  # its first column
    word_j = word // BLOCK_O
    word_o = first_output + word % BLOCK_O
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
        if signs is not None:
            words = words_of(group, j + word_j, word_o, J, group_outputs, SIGN_O) * signs_stride
            words_live = (j + word_j < J) & (word_o < group_outputs)
            tl.store(signs + words + rows[:, None], pack(z), mask=live[:, None] & words_live)
        if y is not None:
            patches = patches_of(
                x, x_strides, picture, pixel, live, group * (J // TAPS),
                j + tl.arange(0, BLOCK_J), J, geometry, TAPS,
            )  # fmt: skip
            w = activate(z, SLOPE).reshape(BLOCK_M, BLOCK_J, BLOCK_O)
            total += w * patches[:, :, None]
    if y is not None:
        o = first_output + tl.arange(0, BLOCK_O)
        to = (tl.program_id(2) * pixels + rows).to(tl.int64) * outputs + group * group_outputs
        mask = live[:, None] & (o < group_outputs)
        tl.store(y + to[:, None] + o, tl.sum(total, 1), mask=mask)


@triton.jit
def inputs_kernel(
    x, x_strides, d, d_term, P, P_term, q, scales, gy, signs, signs_stride, gx, gd, picture, pixels,
    J, D, outputs, group_outputs,
    geometry: constexpr, SLOPE: constexpr, TAPS: constexpr, HAS_Q: constexpr, SCALED: constexpr,
    TERMS: constexpr, SIGN_O: constexpr,
    BLOCK_M: constexpr, BLOCK_O: constexpr, BLOCK_D: constexpr, ONE_TILE: constexpr,
    D_BLOCKS: constexpr,
):  # fmt: skip
    """Write gx by output pixel, of each block of D, and gd of a run of taps.

    These are (blocks of D, groups·J, pixels) and (splits, pixels, D), where a split counts for each
    group; grid (tiles, groups, splits · blocks of D). A step takes one tap.
    """
    rows = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    live = rows < pixels
    group = tl.program_id(1)
    D_block = tl.program_id(2) % D_BLOCKS
    split = tl.program_id(2) // D_BLOCKS
    first, last = run_of(J, tl.num_programs(2) // D_BLOCKS, split)

    of_d, of_P, _ = read_scales(scales, SCALED)
    of_gy = read_scale(scales, 3, SCALED)
    pixel = pixels_of(rows, picture)
    gy_rows = gy + rows.to(tl.int64)[:, None] * outputs + group * group_outputs
    oo = tl.arange(0, BLOCK_O)
    lanes = tl.arange(0, min(BLOCK_O, 32)) % SIGN_O
    word_o = tl.arange(0, BLOCK_O // min(BLOCK_O, 32)) * 32  # its first output
    k = D_block * BLOCK_D + tl.arange(0, BLOCK_D)
    k_live = k < D
    words_at = (word_o // SIGN_O).to(tl.int64) * signs_stride + rows[:, None]
    P_at = (group * group_outputs + oo).to(tl.int64)[:, None] * J * D + k
    d_at = rows.to(tl.int64)[:, None] * D + k
    d_tile = value(load(d, d_term, d_at, live[:, None] & k_live, TERMS), TERMS)
    if ONE_TILE:
        gy_mask = live[:, None] & (oo < group_outputs)
        gy_tile = tl.load(gy_rows + oo, mask=gy_mask, other=0.0).to(tl.float32) * of_gy
    total = tl.zeros((BLOCK_M, BLOCK_D), tl.float32)
    for j in range(first, last):
        R = tl.zeros((BLOCK_M, BLOCK_D), tl.float32)
        of_q = tl.zeros((BLOCK_M,), tl.float32)
        for start in range(0, 1 if ONE_TILE else group_outputs, BLOCK_O):
            o = start + oo
            o_live = o < group_outputs
            if not ONE_TILE:
                gy_mask = live[:, None] & o_live
                gy_tile = tl.load(gy_rows + o, mask=gy_mask, other=0.0).to(tl.float32) * of_gy
            words = signs + words_of(group, j, start, J, group_outputs, SIGN_O) * signs_stride
            words_live = live[:, None] & (start + word_o < group_outputs)
            words = tl.load(words + words_at, mask=words_live, other=0)
            u = gate(unpack(words >> j % (32 // SIGN_O) * SIGN_O, lanes), gy_tile, SLOPE)
            P_start = P + (start * J + j).to(tl.int64) * D
            P_tile = load(P_start, P_term, P_at, o_live[:, None] & k_live, TERMS)
            R = multiply(terms(u, P.dtype.element_ty, TERMS), P_tile, R, TERMS)
            if HAS_Q:
                q_mask = o_live & (D_block == 0)
                q_at = j * outputs + group * group_outputs + o
                q_tile = tl.load(q + q_at, mask=q_mask, other=0.0).to(tl.float32)
                of_q += tl.sum(u * q_tile, 1)
        total += R * patches_of(
            x, x_strides, picture, pixel, live, group * (J // TAPS), j + tl.arange(0, 1), J,
            geometry, TAPS,
        )  # fmt: skip
        found = tl.sum(R * d_tile, 1) * (1.0 / (of_d * of_P)) + of_q
        to = ((D_block * tl.num_programs(1) + group) * J + j).to(tl.int64) * pixels + rows
        tl.store(gx + to, found * (1.0 / of_gy), mask=live)
    to = ((split * tl.num_programs(1) + group) * pixels + rows).to(tl.int64) * D
    tl.store(gd + to[:, None] + k, total * (1.0 / (of_P * of_gy)), mask=live[:, None] & k_live)


@triton.jit
def weights_kernel(
    x, x_strides, d, d_term, P, P_term, q, scales, gy, signs, signs_stride, gP, gq, picture, pixels,
    J, D, outputs, group_outputs,
    geometry: constexpr, SLOPE: constexpr, TAPS: constexpr, HAS_Q: constexpr, SCALED: constexpr,
    TERMS: constexpr, SIGN_O: constexpr,
    BLOCK_M: constexpr, BLOCK_J: constexpr, BLOCK_O: constexpr, BLOCK_D: constexpr,
    D_BLOCKS: constexpr,
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
    word = tl.arange(0, BLOCK_J * BLOCK_O // 32) * 32  # its first column
    word_j = j + word // BLOCK_O
    word_o = first_output + word % BLOCK_O
    words_at = words_of(group, word_j, word_o, J, group_outputs, SIGN_O) * signs_stride
    words_live = (word_j < J) & (word_o < group_outputs)
    first, last = run_of(tl.cdiv(pixels, BLOCK_M), tl.num_programs(2), tl.program_id(2))

    of_d, _, of_u = read_scales(scales, SCALED)
    k = D_block * BLOCK_D + tl.arange(0, BLOCK_D)
    k_live = k < D
    gy_columns = first_output + tl.arange(0, BLOCK_O)
    gy_live = gy_columns < group_outputs
    gy_columns += group * group_outputs
    total = tl.zeros((BLOCK_J * BLOCK_O, BLOCK_D), tl.float32)
    # gq is a product too, with ones: the sums of its columns would be those of many threads.
    ones = tl.full((BLOCK_M, 16), 1.0, tl.float32).to(d.dtype.element_ty)
    total_q = tl.zeros((BLOCK_J * BLOCK_O, 16), tl.float32)
    for block in range(first, last):
        rows = block * BLOCK_M + tl.arange(0, BLOCK_M)
        live = rows < pixels
        patches = patches_of(
            x, x_strides, picture, pixels_of(rows, picture), live, group * (J // TAPS),
            j + tl.arange(0, BLOCK_J), J, geometry, TAPS,
        )  # fmt: skip
        gy_tile = tl.load(
            gy + rows.to(tl.int64)[:, None] * outputs + gy_columns,
            mask=live[:, None] & gy_live, other=0.0,
        ).to(tl.float32)  # fmt: skip
        words = tl.load(signs + words_at + rows[:, None], mask=live[:, None] & words_live, other=0)
        positive = unpack(words, tl.arange(0, 32)).reshape(BLOCK_M, BLOCK_J, BLOCK_O)
        scaled = gate(positive, gy_tile[:, None, :], SLOPE) * (patches * of_u)[:, :, None]
        scaled = scaled.reshape(BLOCK_M, BLOCK_J * BLOCK_O)
        d_at = rows.to(tl.int64)[:, None] * D + k
        d_tile = load(d, d_term, d_at, live[:, None] & k_live, TERMS)  # [M, D]
        scaled = transposed(terms(scaled, d.dtype.element_ty, TERMS), TERMS)
        total = accumulate(scaled, d_tile, total, TERMS)  # [J·O, D]
        if HAS_Q:
            total_q = add_up(scaled, ones, total_q, TERMS)
    split = tl.program_id(2).to(tl.int64)
    to = ((split * outputs + o) * J + all_j) * D
    tl.store(gP + to[:, None] + k, total * (1.0 / (of_d * of_u)), mask=P_live[:, None] & k_live)
    if HAS_Q:
        once = P_live & (D_block == 0)
        to = (split * J + all_j) * outputs + o
        tl.store(gq + to, tl.max(total_q, 1) * (1.0 / of_u), mask=once)


@triton.jit
def gather_kernel(
    columns, gx, gx_strides, picture, count, pixels,
    geometry: constexpr, TAPS: constexpr, PARTS: constexpr, BLOCK: constexpr,
):  # fmt: skip
    """Add up, for every input pixel, gx of the output pixels that read it.

    The columns are (parts, channels·taps, pixels); grid (tiles of the pixels of all pictures,
    channels).
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
            for part in tl.static_range(PARTS):
                row = (part * tl.num_programs(1) + c) * TAPS + tap
                at = row.to(tl.int64) * pixels + ((n * OH + oh) * OW + ow)
                total += tl.load(columns + at, mask=reads, other=0.0)
    s_n, s_c, s_h, s_w = gx_strides
    tl.store(
        gx + n.to(tl.int64) * s_n + c.to(tl.int64) * s_c + h.to(tl.int64) * s_h + w * s_w,
        total,
        mask=live,
    )
