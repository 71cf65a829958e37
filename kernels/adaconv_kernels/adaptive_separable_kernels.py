"""The Triton kernels of the first, depthwise stage of separable adaptive convolution.

Columns of the products are channels, and a step is one tap t of them: all that is regressed is
used. With z[p,c,t] = Σ_k d[p,k]·P[c,t,k] + q[t,c], as in
:mod:`adaconv_kernels.adaptive_conv_kernels`::

    forward   u[p,c]    = Σ_t act(z[p,c,t])·x[p+t,c]
    input     gx[i,c]   = Σ_t act(z[p,c,t])·gu[p,c]                of the p with p + t = i
    features  gd[p,k]   = Σ_{c,t} act'(z[p,c,t])·gu[p,c]·x[p+t,c]·P[c,t,k]
    weights   gP[c,t,k] = Σ_p act'(z[p,c,t])·gu[p,c]·x[p+t,c]·d[p,k],   gq[c,t] without d

A weight is used once where another product regresses it in 2·D operations, so that the gradients
regress it three times rather than let anything of its size be in memory.
"""

# mypy: ignore-errors
# (Triton's language has the syntax of Python, not its types.)

import triton
import triton.language as tl
from triton.language import constexpr

from adaconv_kernels._products import accumulate, load, read_scales, terms, transposed
from adaconv_kernels._promises import Promise
from adaconv_kernels.adaptive_conv_kernels import (
    activate,
    gate,
    patches_of,
    pixels_of,
    regress,
    run_of,
)

#: Tiles fill the registers, as those of adaptive convolution do.
PROMISES = {
    "forward_kernel": Promise(products=1, occupancy=0.125),
    "input_kernel": Promise(products=1, occupancy=0.125),
    "features_kernel": Promise(products=2, occupancy=0.125),
    "weights_kernel": Promise(products=2, occupancy=0.125),
}


@triton.jit
def _weights_of(
    d, d_term, rows, live, P, P_term, q, scales, c, tap, outputs, D,
    TAPS: constexpr, HAS_Q: constexpr, SCALED: constexpr, TERMS: constexpr, BLOCK_D: constexpr,
):  # fmt: skip
    """Return z of one tap, (rows, channels)."""
    of_d, of_P, _ = read_scales(scales, SCALED)
    P_rows = (c * TAPS + tap).to(tl.int64) * D
    return regress(
        d, d_term, rows.to(tl.int64) * D, live, P, P_term, P_rows, c < outputs, q,
        tap * outputs + c, D, 1.0 / (of_d * of_P), HAS_Q, SCALED, TERMS, BLOCK_D,
    )  # fmt: skip


@triton.jit
def _slopes(
    x, x_strides, d, d_term, P, P_term, q, scales, gu, picture, rows, live, c, tap, outputs, D,
    geometry: constexpr, SLOPE: constexpr, TAPS: constexpr, HAS_Q: constexpr, SCALED: constexpr,
    TERMS: constexpr, BLOCK_D: constexpr,
):  # fmt: skip
    """Return the gradient of z of one tap, scaled, (rows, channels)."""
    z = _weights_of(
        d, d_term, rows, live, P, P_term, q, scales, c, tap, outputs, D,
        TAPS, HAS_Q, SCALED, TERMS, BLOCK_D,
    )  # fmt: skip
    at = rows.to(tl.int64)[:, None] * outputs + c[None, :]
    g = tl.load(gu + at, mask=live[:, None] & (c < outputs)[None, :], other=0.0)
    patches = patches_of(
        x, x_strides, picture, pixels_of(rows, picture), live, 0, c * TAPS + tap, outputs * TAPS,
        geometry, TAPS,
    )  # fmt: skip
    _, _, of_u = read_scales(scales, SCALED)
    return gate(z > 0, g, SLOPE) * (patches * of_u)


@triton.jit
def forward_kernel(
    x, x_strides, d, d_term, P, P_term, q, scales, u, picture, pixels, J, D, outputs,
    group_outputs,
    geometry: constexpr, SLOPE: constexpr, TAPS: constexpr, HAS_Q: constexpr, SCALED: constexpr,
    TERMS: constexpr, BLOCK_M: constexpr, BLOCK_C: constexpr, BLOCK_D: constexpr,
):  # fmt: skip
    """Write u, (pixels, channels); grid (tiles, blocks of channels, 1)."""
    rows = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    live = rows < pixels
    c = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    pixel = pixels_of(rows, picture)
    total = tl.zeros((BLOCK_M, BLOCK_C), tl.float32)
    for tap in range(TAPS):
        z = _weights_of(
            d, d_term, rows, live, P, P_term, q, scales, c, tap, outputs, D,
            TAPS, HAS_Q, SCALED, TERMS, BLOCK_D,
        )  # fmt: skip
        patches = patches_of(
            x, x_strides, picture, pixel, live, 0, c * TAPS + tap, outputs * TAPS, geometry, TAPS
        )
        total += activate(z, SLOPE) * patches
    at = rows.to(tl.int64)[:, None] * outputs + c[None, :]
    tl.store(u + at, total, mask=live[:, None] & (c < outputs)[None, :])


@triton.jit
def input_kernel(
    x, x_strides, d, d_term, P, P_term, q, scales, gu, gx, gx_strides, count, picture, pixels, J,
    D, outputs, group_outputs,
    geometry: constexpr, SLOPE: constexpr, TAPS: constexpr, HAS_Q: constexpr, SCALED: constexpr,
    TERMS: constexpr, BLOCK_M: constexpr, BLOCK_C: constexpr, BLOCK_D: constexpr,
):  # fmt: skip
    """Write gx; grid (tiles of the pixels of all pictures, blocks of channels, 1)."""
    KW: constexpr = geometry[0]
    U: constexpr = geometry[7]
    H, W, OH, OW = picture
    i = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    c = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    w = i % W
    h = (i // W) % H
    n = i // (W * H)
    total = tl.zeros((BLOCK_M, BLOCK_C), tl.float32)
    for step in range(TAPS * U * U):
        tap = step // (U * U)
        top = h * U + (step // U % U + geometry[3] - tap // KW * geometry[5])
        left = w * U + (step % U + geometry[4] - tap % KW * geometry[6])
        oh = top // geometry[1]
        ow = left // geometry[2]
        reads = (top >= 0) & (top % geometry[1] == 0) & (oh < OH)
        reads = reads & (left >= 0) & (left % geometry[2] == 0) & (ow < OW) & (i < count)
        rows = (n * OH + oh) * OW + ow
        z = _weights_of(
            d, d_term, rows, reads, P, P_term, q, scales, c, tap, outputs, D,
            TAPS, HAS_Q, SCALED, TERMS, BLOCK_D,
        )  # fmt: skip
        at = rows.to(tl.int64)[:, None] * outputs + c[None, :]
        g = tl.load(gu + at, mask=reads[:, None] & (c < outputs)[None, :], other=0.0)
        total += activate(z, SLOPE) * g
    s_n, s_c, s_h, s_w = gx_strides
    to = n.to(tl.int64) * s_n + h.to(tl.int64) * s_h + w.to(tl.int64) * s_w
    to = to[:, None] + (c.to(tl.int64) * s_c)[None, :]
    tl.store(gx + to, total, mask=(i < count)[:, None] & (c < outputs)[None, :])


@triton.jit
def features_kernel(
    x, x_strides, d, d_term, P, P_term, q, scales, gu, gd, picture, pixels, J, D, outputs,
    group_outputs,
    geometry: constexpr, SLOPE: constexpr, TAPS: constexpr, HAS_Q: constexpr, SCALED: constexpr,
    TERMS: constexpr, BLOCK_M: constexpr, BLOCK_C: constexpr, BLOCK_D: constexpr,
):  # fmt: skip
    """Write gd of a run of taps and channels, (splits, pixels, D).

    Grid (tiles, blocks of D, splits).
    """
    rows = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    live = rows < pixels
    k = tl.program_id(1) * BLOCK_D + tl.arange(0, BLOCK_D)
    steps = TAPS * tl.cdiv(outputs, BLOCK_C)
    first, last = run_of(steps, tl.num_programs(2), tl.program_id(2))
    total = tl.zeros((BLOCK_M, BLOCK_D), tl.float32)
    for step in range(first, last):
        tap = step % TAPS
        c = step // TAPS * BLOCK_C + tl.arange(0, BLOCK_C)
        slopes = _slopes(
            x, x_strides, d, d_term, P, P_term, q, scales, gu, picture, rows, live, c, tap,
            outputs, D, geometry, SLOPE, TAPS, HAS_Q, SCALED, TERMS, BLOCK_D,
        )  # fmt: skip
        P_rows = (c * TAPS + tap).to(tl.int64) * D
        P_tile = load(
            P, P_term, P_rows[:, None] + k, (c < outputs)[:, None] & (k < D)[None, :], TERMS
        )
        slopes = terms(slopes, P.dtype.element_ty, TERMS)
        total = accumulate(slopes, P_tile, total, TERMS)  # [M, D]
    _, of_P, of_u = read_scales(scales, SCALED)
    to = (tl.program_id(2) * pixels + rows).to(tl.int64) * D
    mask = live[:, None] & (k < D)[None, :]
    tl.store(gd + to[:, None] + k, total * (1.0 / (of_P * of_u)), mask=mask)


@triton.jit
def weights_kernel(
    x, x_strides, d, d_term, P, P_term, q, scales, gu, gP, gq, picture, pixels, J, D, outputs,
    group_outputs,
    geometry: constexpr, SLOPE: constexpr, TAPS: constexpr, HAS_Q: constexpr, SCALED: constexpr,
    TERMS: constexpr, BLOCK_M: constexpr, BLOCK_C: constexpr, BLOCK_D: constexpr,
):  # fmt: skip
    """Write gP and gq of a run of pixels, (splits, channels, taps, D) and without D.

    Grid (taps · blocks of channels, blocks of D, splits).
    """
    tap = tl.program_id(0) % TAPS
    c = tl.program_id(0) // TAPS * BLOCK_C + tl.arange(0, BLOCK_C)
    k = tl.program_id(1) * BLOCK_D + tl.arange(0, BLOCK_D)
    first, last = run_of(tl.cdiv(pixels, BLOCK_M), tl.num_programs(2), tl.program_id(2))
    total = tl.zeros((BLOCK_C, BLOCK_D), tl.float32)
    total_q = tl.zeros((BLOCK_C,), tl.float32)
    for block in range(first, last):
        rows = block * BLOCK_M + tl.arange(0, BLOCK_M)
        live = rows < pixels
        slopes = _slopes(
            x, x_strides, d, d_term, P, P_term, q, scales, gu, picture, rows, live, c, tap,
            outputs, D, geometry, SLOPE, TAPS, HAS_Q, SCALED, TERMS, BLOCK_D,
        )  # fmt: skip
        total_q += tl.sum(slopes, 0)
        d_at = rows.to(tl.int64)[:, None] * D + k
        d_tile = load(d, d_term, d_at, live[:, None] & (k < D)[None, :], TERMS)
        slopes = transposed(terms(slopes, d.dtype.element_ty, TERMS), TERMS)
        total = accumulate(slopes, d_tile, total, TERMS)  # [C, D]
    of_d, _, of_u = read_scales(scales, SCALED)
    to = (tl.program_id(2).to(tl.int64) * outputs + c) * TAPS + tap
    mask = (c < outputs)[:, None] & (k < D)[None, :]
    tl.store(gP + to[:, None] * D + k, total * (1.0 / (of_d * of_u)), mask=mask)
    once = (c < outputs) & (tl.program_id(1) == 0)
    tl.store(gq + to, total_q * (1.0 / of_u), mask=once)
