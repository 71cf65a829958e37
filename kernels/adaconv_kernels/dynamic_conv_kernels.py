"""The Triton kernels of dynamic convolution, which are bound by reading or writing w once.

Lanes are neighbouring pixels, of w, x and y alike, so that they read runs of memory. A tile is
(BLOCK_J, BLOCK_R, BLOCK_P): weights of a filter, rows, and pixels. Sums are kept for the whole tile
and added up over the weights at the end, so that no step waits for another lane.

The channels fall into units. A unit is a group of channels and its M filters, or one filter and the
R groups that share it; so its outputs are R·M, and its input channels R·C. With m, r, c of a unit
and a tap t::

    A    y[r,m,p]  = Σ_{c,t} w[m,c,t,p]·x[r,c,p+t]
    Bx   gx[r,c,q] = Σ_{m,t} w[m,c,t,q-t]·gy[r,m,q-t]
    Bw   gw[m,c,t,p] = Σ_r gy[r,m,p]·x[r,c,p+t]

A and Bx are one kernel: of m and c one is *kept* and the other *summed*. Rows are what is kept, or
the groups that share a filter, which then is read once for all of them.
"""

# mypy: ignore-errors
# (Triton's language has the syntax of Python, not its types.)

import triton
import triton.language as tl
from triton.language import constexpr

from adaconv_kernels._promises import Promise

#: A tile of sums fills the registers: what hides the memory's latency are the loads of a thread
#: that are on their way at once.
PROMISES = {"sum_kernel": Promise(occupancy=0.125), "weight_kernel": Promise(occupancy=0.125)}


@triton.jit
def _lanes(batch, height, width, BLOCK_P: constexpr):
    """Return n, row and column of a program's pixels, and whether they exist; [1, 1, P]."""
    p = (tl.program_id(0) * BLOCK_P + tl.arange(0, BLOCK_P))[None, None, :]
    n = p // (height * width)
    return n, p // width % height, p % width, n < batch


@triton.jit
def _taps(j, geometry: constexpr):
    """Return channel, row and column of the taps j, [J, 1, 1]."""
    KH: constexpr = geometry[0]
    KW: constexpr = geometry[1]
    tap = j % (KH * KW)
    return (j // (KH * KW))[:, None, None], (tap // KW)[:, None, None], (tap % KW)[:, None, None]


@triton.jit
def _under(row, column, kh, kw, height, width, geometry: constexpr):
    """Return where in x the taps of output pixels lie, and whether that is in the picture."""
    ih = row * geometry[2] - geometry[4] + kh * geometry[6]
    iw = column * geometry[3] - geometry[5] + kw * geometry[7]
    return ih, iw, (ih >= 0) & (ih < height) & (iw >= 0) & (iw < width)


@triton.jit
def _above(row, column, kh, kw, height, width, geometry: constexpr):
    """Return the output pixels whose taps are these pixels of x, and whether there are such."""
    top = row + geometry[4] - kh * geometry[6]
    left = column + geometry[5] - kw * geometry[7]
    oh = top // geometry[2]
    ow = left // geometry[3]
    reads = (top >= 0) & (top % geometry[2] == 0) & (oh < height)
    return oh, ow, reads & (left >= 0) & (left % geometry[3] == 0) & (ow < width)


@triton.jit
def _wide(index, stride):
    """Return the offset of an index; w may have more than 2^31 values."""
    return index.to(tl.int64) * stride


@triton.jit
def sum_kernel(
    source, source_strides, w, w_strides, b, b_strides, out, out_strides, kept, summed, batch,
    picture, shared,
    geometry: constexpr, TRANSPOSED: constexpr, SHARED: constexpr,
    BLOCK_J: constexpr, BLOCK_R: constexpr, BLOCK_P: constexpr,
):  # fmt: skip
    """Write one run of the taps of A or, TRANSPOSED, of Bx: (splits, N, channels, H, W).

    Grid (tiles of pixels, tiles of rows, splits).
    """
    H, W, OH, OW = picture
    tiles = tl.cdiv(shared if SHARED else kept, BLOCK_R)
    row = (tl.program_id(1) % tiles * BLOCK_R + tl.arange(0, BLOCK_R))[None, :, None]
    one = tl.zeros((1, 1, 1), tl.int32)
    if SHARED:
        unit = tl.program_id(1) // tiles // kept
        of_unit, of_group = row, one + tl.program_id(1) // tiles % kept
    else:
        unit = tl.program_id(1) // tiles
        of_unit, of_group = one, row
    group = unit * shared + of_unit
    channel = group * kept + of_group
    w_unit = _wide(one + unit, w_strides[1]) + _wide(of_group, w_strides[2])
    if TRANSPOSED:
        n, y, x, exists = _lanes(batch, H, W, BLOCK_P)
    else:
        n, y, x, exists = _lanes(batch, OH, OW, BLOCK_P)

    total = tl.zeros((BLOCK_J, BLOCK_R, BLOCK_P), tl.float32)
    run = tl.cdiv(tl.cdiv(summed * geometry[0] * geometry[1], BLOCK_J), tl.num_programs(2))
    for step in range(tl.program_id(2) * run, (tl.program_id(2) + 1) * run):
        e, kh, kw = _taps(step * BLOCK_J + tl.arange(0, BLOCK_J), geometry)
        live = exists & (e < summed)
        if TRANSPOSED:
            source_y, source_x, inside = _above(y, x, kh, kw, OH, OW, geometry)
            w_y, w_x = source_y, source_x
            live = live & inside
        else:
            source_y, source_x, inside = _under(y, x, kh, kw, H, W, geometry)
            w_y, w_x = y, x
        s_n, s_c, s_h, s_w = source_strides
        at = _wide(n, s_n) + _wide(group * summed + e, s_c) + _wide(source_y, s_h) + source_x * s_w
        value = tl.load(source + at, mask=live & inside & (of_unit < shared), other=0.0)
        s_n, _, _, s_e, s_kh, s_kw, s_h, s_w = w_strides
        w_at = w_unit + _wide(e, s_e) + _wide(kh, s_kh) + _wide(kw, s_kw)
        w_at += _wide(n, s_n) + _wide(w_y, s_h) + _wide(w_x, s_w)
        weight = tl.load(w + w_at, mask=live & (of_group < kept), other=0.0)
        total += weight.to(tl.float32) * value.to(tl.float32)

    result = tl.sum(total, 0)[None, :, :]
    live = exists & (of_unit < shared) & (of_group < kept)
    if b is not None:
        b_at = _wide(n, b_strides[0]) + _wide(channel, b_strides[1])
        b_at += _wide(y, b_strides[2]) + _wide(x, b_strides[3])
        result += tl.load(b + b_at, mask=live, other=0.0).to(tl.float32)
    s_part, s_n, s_c, s_h, s_w = out_strides
    out_at = _wide(one + tl.program_id(2), s_part) + _wide(n, s_n) + _wide(channel, s_c)
    tl.store(out + out_at + _wide(y, s_h) + _wide(x, s_w), result, mask=live)


@triton.jit
def weight_kernel(
    gy, gy_strides, x, x_strides, gw, gw_strides, filters, depth, batch, picture, shared,
    geometry: constexpr, BLOCK_J: constexpr, BLOCK_R: constexpr, BLOCK_P: constexpr,
):  # fmt: skip
    """Write Bw; grid (tiles of pixels, tiles of filters, tiles of taps)."""
    H, W, OH, OW = picture
    n, oh, ow, exists = _lanes(batch, OH, OW, BLOCK_P)
    tiles = tl.cdiv(filters, BLOCK_R)
    unit = tl.program_id(1) // tiles
    m = (tl.program_id(1) % tiles * BLOCK_R + tl.arange(0, BLOCK_R))[None, :, None]
    c, kh, kw = _taps(tl.program_id(2) * BLOCK_J + tl.arange(0, BLOCK_J), geometry)
    ih, iw, inside = _under(oh, ow, kh, kw, H, W, geometry)

    total = tl.zeros((BLOCK_J, BLOCK_R, BLOCK_P), tl.float32)
    for r in range(shared):
        group = unit * shared + r
        s_n, s_c, s_h, s_w = gy_strides
        gy_at = _wide(n, s_n) + _wide(group * filters + m, s_c) + _wide(oh, s_h) + ow * s_w
        g = tl.load(gy + gy_at, mask=exists & (m < filters), other=0.0).to(tl.float32)
        s_n, s_c, s_h, s_w = x_strides
        x_at = _wide(n, s_n) + _wide(group * depth + c, s_c) + _wide(ih, s_h) + iw * s_w
        value = tl.load(x + x_at, mask=exists & inside & (c < depth), other=0.0)
        total += g * value.to(tl.float32)

    s_n, s_s, s_c, s_kh, s_kw, s_h, s_w = gw_strides
    at = _wide(n, s_n) + _wide(unit * filters + m, s_s) + _wide(c, s_c) + _wide(kh, s_kh)
    at += _wide(kw, s_kw) + _wide(oh, s_h) + _wide(ow, s_w)
    tl.store(gw + at, total, mask=exists & (m < filters) & (c < depth))
