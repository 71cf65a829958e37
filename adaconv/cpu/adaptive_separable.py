"""Separable adaptive convolution on the CPU: allocation and the calls into ``adaconv._C``."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from adaconv import cpu
from adaconv.cpu import adaptive_conv
from adaconv.cpu._native import SUFFIX, address, strided, to
from adaconv.cpu.adaptive_conv import TERMS

#: Pixels that go through both stages before the next, about: what lies between the stages, and what
#: the backward pass keeps of the first, is kept for these.
PIECE_PIXELS = 4096

Gradients = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]


def _piece(oh: int, ow: int) -> tuple[int, int]:
    """Return how many images make a piece, or else how many rows of one."""
    return max(1, PIECE_PIXELS // (oh * ow)), min(oh, max(1, PIECE_PIXELS // ow))


def _computed_in(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype that a call is computed in: u would lose too much in a half."""
    return dtype if dtype == torch.float64 else torch.float32


def _terms(dtype: torch.dtype) -> int:
    """Return the terms of bf16 that stand for a number; one is all there is of what was widened."""
    return TERMS["medium"] if dtype == torch.bfloat16 else adaptive_conv._terms()


def _single_tap(P2: Tensor) -> Tensor:
    """Return the second stage's matrix as that of a 1x1 kernel."""
    return P2[:, :, None, None]


def allocate_outputs(
    x: Tensor, d: Tensor, P2: Tensor, groups: int, save: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Return uninitialised y, u and bytes for the sign bits; the latter two empty without save."""
    n, _, oh, ow = d.shape
    y, _ = adaptive_conv.allocate_outputs(x, d, _single_tap(P2), groups, False)
    computed = _computed_in(x.dtype)
    size = 0
    if save and n * oh * ow > 0:
        size = max(_sign_sizes(n, oh, ow, P2.to(computed), groups).values()) + 1
    u = x.new_empty((n, x.shape[1], oh, ow) if save else 0, dtype=computed)
    return y, u, torch.empty(size, dtype=torch.uint8, device=x.device)


def _sign_sizes(n: int, oh: int, ow: int, P2: Tensor, groups: int) -> dict[int, int]:
    """Return the bytes that the sign bits of all pieces take, by number of terms."""
    images, rows = _piece(oh, ow)
    sizes = dict.fromkeys(TERMS.values(), 0)
    for parts, of_images in ((n // images, images), (1, n % images)):
        for bands, of_rows in ((oh // rows, rows), (1, oh % rows)):
            if parts * bands * of_images * of_rows > 0:
                piece = adaptive_conv._sign_sizes(of_images, of_rows, ow, _single_tap(P2), groups)
                sizes = {terms: sizes[terms] + parts * bands * piece[terms] for terms in sizes}
    return sizes


def allocate_gradients(
    x: Tensor, d: Tensor, P1: Tensor, P2: Tensor, wanted: Sequence[bool], dtype: torch.dtype
) -> Gradients:
    """Return zeros for the gradients of all but b; those that are not wanted are empty."""
    shapes = (x, d, P1, P1[..., 0], P2, P2[..., 0])

    def zeros_like(tensor: Tensor, want: bool) -> Tensor:
        return torch.zeros_like(tensor, dtype=dtype) if want else tensor.new_empty(0, dtype=dtype)

    gx, gd = (zeros_like(t, want) for t, want in zip(shapes[:2], wanted[:2], strict=True))
    gP1, gq1, gP2, gq2 = (
        t.new_zeros(t.shape if want else 0, dtype=dtype)
        for t, want in zip(shapes[2:], wanted[2:], strict=True)
    )
    return gx, gd, gP1, gq1, gP2, gq2


def _contiguous(dtype: torch.dtype, *tensors: Tensor | None) -> list[Any]:
    return [None if t is None else t.to(dtype).contiguous() for t in tensors]


def _native(function: str, dtype: torch.dtype):
    return getattr(cpu._C, f"adaptive_separable_{function}_{SUFFIX[dtype]}")


def _shape(x, d, P1, P2, stride, padding, dilation, groups, negative_slope, upsample, terms):
    options = stride, padding, dilation, len(P1), negative_slope, upsample
    depthwise = adaptive_conv._shape(x, d, P1.unsqueeze(1), *options)
    return cpu._C.AdaptiveSeparableShape(depthwise, len(P2), groups, _piece(*d.shape[2:]), terms)


def forward(
    x: Tensor,
    d: Tensor,
    P1: Tensor,
    q1: Tensor | None,
    P2: Tensor,
    q2: Tensor | None,
    b: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    negative_slope: float,
    upsample: int,
    save: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute y and, where asked for, u and the sign bits of the second stage's weights."""
    dtype, kernel = x.dtype, _computed_in(x.dtype)
    x, d, b = to(kernel, x, d, b)
    P1, q1, P2, q2 = _contiguous(kernel, P1, q1, P2, q2)
    y, u, signs = allocate_outputs(x, d, P2, groups, save)
    if y.numel() > 0:
        terms = _terms(dtype)
        if save:
            signs[_sign_sizes(len(y), y.shape[2], y.shape[3], P2, groups)[terms] :] = 0
            signs[-1] = terms
        options = stride, padding, dilation, groups, negative_slope, upsample
        _native("forward", kernel)(
            _shape(x, d, P1, P2, *options, terms), strided(x), strided(d), address(P1),
            address(q1), address(P2), address(q2), strided(b),
            strided(u) if save else None, strided(y), address(signs) if save else None,
        )  # fmt: skip
    return y.to(dtype), u, signs


def backward(
    gy: Tensor,
    x: Tensor,
    d: Tensor,
    P1: Tensor,
    q1: Tensor | None,
    P2: Tensor,
    q2: Tensor | None,
    u: Tensor,
    signs: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    negative_slope: float,
    upsample: int,
    wanted: Sequence[bool],
) -> Gradients:
    """Compute the gradients of all arguments but b, those that are wanted.

    Where nothing was saved, u and the sign bits are computed anew, a piece at a time. The gradients
    of a stage's matrix and bias are made together, and that of d with all but the second stage's.
    """
    dtype, kernel = x.dtype, _computed_in(x.dtype)
    gy, x, d = to(kernel, gy, x, d)
    P1, q1, P2, q2 = _contiguous(kernel, P1, q1, P2, q2)
    first, second = wanted[2] or wanted[3], wanted[4] or wanted[5]
    made = (wanted[0], wanted[0] or wanted[1] or first, first, first, second, second)
    gradients = allocate_gradients(x, d, P1, P2, made, kernel)
    if gy.numel() > 0:
        saved = signs.numel() > 0
        terms = int(signs[-1]) if saved else _terms(dtype)
        options = stride, padding, dilation, groups, negative_slope, upsample
        gx, gd, *parameters = gradients
        _native("backward", kernel)(
            _shape(x, d, P1, P2, *options, terms), strided(gy), strided(x), strided(d),
            address(P1), address(q1), address(P2), address(q2),
            strided(u) if saved else None, address(signs) if saved else None,
            strided(gx) if made[0] else None, strided(gd) if made[1] else None,
            *(address(g) if make else None for g, make in zip(parameters, made[2:], strict=True)),
        )  # fmt: skip
    gx, gd, gP1, gq1, gP2, gq2 = (
        g.to(dtype) if want else g.new_empty(0, dtype=dtype)
        for g, want in zip(gradients, wanted, strict=True)
    )
    return gx, gd, gP1, gq1, gP2, gq2
