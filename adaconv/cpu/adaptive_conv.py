"""Adaptive convolution on the CPU: allocation, dtypes and the calls into ``adaconv._C``."""

from collections.abc import Sequence

import torch
from torch import Tensor

from adaconv import cpu
from adaconv.cpu._native import SUFFIX, address, empty_picture, strided, sums_of, to

#: :func:`torch.get_float32_matmul_precision` → numbers of bf16 that stand for one of float32 where
#: the CPU multiplies bf16 faster; three of them are float32 itself.
TERMS = {"highest": 3, "high": 2, "medium": 1}


def _native(function: str, dtype: torch.dtype):
    return getattr(cpu._C, f"adaptive_conv_{function}_{SUFFIX[dtype]}")


def _terms() -> int:
    return TERMS[torch.get_float32_matmul_precision()]


def _sign_layout(dtype: torch.dtype, P: Tensor, groups: int, terms: int):
    """Return how sign bits are laid out, or None where the dtype has no kernel for this shape."""
    return _native("sign_layout", dtype)(P.shape[4], P.shape[0] // groups, terms)


def _computed_in(dtype: torch.dtype, P: Tensor, groups: int) -> torch.dtype:
    """Return the dtype that a call is computed in; halves without a kernel are widened."""
    native = dtype in SUFFIX and _sign_layout(dtype, P, groups, _terms()) is not None
    return dtype if native else torch.float32


def allocate_outputs(
    x: Tensor, d: Tensor, P: Tensor, groups: int, save_signs: bool
) -> tuple[Tensor, Tensor]:
    """Return an uninitialised y, channels_last where x is, and the bytes for the sign bits."""
    n, _, oh, ow = d.shape
    y = empty_picture((n, P.shape[0], oh, ow), x)
    size = 0
    if save_signs and n * oh * ow > 0:
        size = max(_sign_sizes(n, oh, ow, P, groups).values()) + 1
    return y, torch.empty(size, dtype=torch.uint8, device=x.device)


def _sign_sizes(n: int, oh: int, ow: int, P: Tensor, groups: int) -> dict[int, int]:
    """Return the bytes that the sign bits take, by number of terms.

    The precision may change between two calls, so that space is made for the largest layout; a last
    byte tells the number of terms. Pixels are cut into full bands of whole rows and a rest, and
    those into whole tiles.
    """
    dtype = _computed_in(P.dtype, P, groups)
    rows = n * oh

    def size(terms: int) -> int:
        band_pixels, tile_pixels, multiple, row_bytes = _sign_layout(dtype, P, groups, terms)
        band_rows = min(max(1, band_pixels // ow), rows)

        def tiles(rows: int) -> int:
            return (rows * ow + tile_pixels - 1) // tile_pixels

        count = rows // band_rows * tiles(band_rows) + tiles(rows % band_rows)
        outputs = -(-(P.shape[0] // groups) // multiple) * multiple
        return count * groups * outputs * P.shape[1:4].numel() * row_bytes

    return {terms: size(terms) for terms in TERMS.values()}


def allocate_gradients(
    x: Tensor, d: Tensor, P: Tensor, wanted: Sequence[bool], dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return tensors for the gradients of x, d, P and q; those that are not wanted are empty.

    The kernel adds to that of x, which is zeros, and writes the others.
    """

    def zeros_like(tensor: Tensor, want: bool) -> Tensor:
        return torch.zeros_like(tensor, dtype=dtype) if want else tensor.new_empty(0, dtype=dtype)

    gP = P.new_empty(P.shape if wanted[2] else 0, dtype=dtype)
    gq = P.new_empty(P.shape[:4] if wanted[3] else 0, dtype=dtype)
    return zeros_like(x, wanted[0]), zeros_like(d, wanted[1]), gP, gq


def _shape(x, d, P, stride, padding, dilation, groups, negative_slope, upsample):
    return cpu._C.AdaptiveConvShape(
        tuple(x.shape), tuple(P.shape), tuple(d.shape[2:]), tuple(stride), tuple(padding),
        tuple(dilation), groups, negative_slope, upsample,
    )  # fmt: skip


def forward(
    x: Tensor,
    d: Tensor,
    P: Tensor,
    q: Tensor | None,
    b: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    negative_slope: float,
    upsample: int,
    save_signs: bool,
) -> tuple[Tensor, Tensor]:
    """Compute y and, where asked for, the sign bits of the regressed weights."""
    dtype, kernel = x.dtype, _computed_in(x.dtype, P, groups)
    x, d, P, b = to(kernel, x, d, P, b)
    (q,) = to(sums_of(kernel), q)
    P, q = P.contiguous(), None if q is None else q.contiguous()
    y, signs = allocate_outputs(x, d, P, groups, save_signs)
    if y.numel() > 0:
        terms = _terms()
        if save_signs:
            signs[_sign_sizes(len(y), y.shape[2], y.shape[3], P, groups)[terms] :] = 0
            signs[-1] = terms
        _native("forward", kernel)(
            _shape(x, d, P, stride, padding, dilation, groups, negative_slope, upsample), terms,
            strided(x), strided(d), address(P), address(q), strided(b), strided(y),
            address(signs) if save_signs else None,
        )  # fmt: skip
    return y.to(dtype), signs


def backward(
    gy: Tensor,
    x: Tensor,
    d: Tensor,
    P: Tensor,
    q: Tensor | None,
    signs: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    negative_slope: float,
    upsample: int,
    wanted: Sequence[bool],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Compute the gradients of x, d, P and q, those that are wanted.

    The kernel makes the gradients of x and d together, and those of P and q together. Where there
    are no sign bits it recomputes them, a few MiB at a time.
    """
    dtype, kernel = x.dtype, _computed_in(x.dtype, P, groups)
    gy, x, d, P = to(kernel, gy, x, d, P)
    (q,) = to(sums_of(kernel), q)
    P, q = P.contiguous(), None if q is None else q.contiguous()
    inputs, weights = wanted[0] or wanted[1], wanted[2] or wanted[3]
    gradients = allocate_gradients(x, d, P, (inputs, inputs, weights, weights), sums_of(kernel))
    gx, gd, gP, gq = gradients
    if gy.numel() == 0:
        gP.zero_()
        gq.zero_()
    else:
        _native("backward", kernel)(
            _shape(x, d, P, stride, padding, dilation, groups, negative_slope, upsample),
            int(signs[-1]) if signs.numel() > 0 else _terms(),
            strided(gy), strided(x), strided(d), address(P), address(q),
            address(signs) if signs.numel() > 0 else None,
            strided(gx) if inputs else None, strided(gd) if inputs else None,
            address(gP) if weights else None, address(gq) if weights else None,
        )  # fmt: skip
    gx, gd, gP, gq = (
        g.to(dtype) if want else g.new_empty(0, dtype=dtype)
        for g, want in zip(gradients, wanted, strict=True)
    )
    return gx, gd, gP, gq
