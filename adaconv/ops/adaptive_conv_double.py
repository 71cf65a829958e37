"""The part of adaptive convolution's double backward that needs weights of pixels, in chunks."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from adaconv.ops import _dispatch, dynamic_conv
from adaconv.ops._chunks import Place, cut
from adaconv.reference import dynamic_conv as reference
from adaconv.reference.adaptive_conv import enlarge, frame

#: Weights of pixels that are in memory at a time, in values of one copy; a few copies exist.
CHUNK_VALUES = 1 << 20


class Values(NamedTuple):
    """The arguments of the backward, then the cotangents of gd, gP and gq."""

    gy: Tensor
    x: Tensor
    d: Tensor
    P: Tensor
    q: Tensor | None
    v: Tensor | None
    V: Tensor | None
    r: Tensor | None


def tangent_gradients(
    values: Values,
    needed: Sequence[bool],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    negative_slope: float,
    upsample: int,
    backend: str,
) -> list[Tensor | None]:
    """Differentiate ``⟨gy, A(x, m·(P·v + V·d + r))⟩`` with respect to gy, x, d and P.

    ``A`` is the dynamic convolution of x, enlarged ``upsample`` times; m is the slope of the
    activation at P·d + q, 1 or ``negative_slope``. Of the weights ``w = m·(P·v + V·d + r)`` and
    their gradient ``G = m·Bw(gy, x)`` a chunk of images, outputs and rows is in memory at a time:

    ``A(x, w)`` in gy, ``Bx(gy, w)`` in x, ``Vᵀ·G`` in d and ``Σ G·vᵀ`` in P.

    Where the result must itself be differentiable, its graph keeps all chunks.

    Returns:
        The gradients in gy, x, d and P; None where not needed or zero.
    """
    size = [extent * upsample for extent in values.x.shape[2:]]
    output_size = values.gy.shape[2:]
    edge = frame(size, values.P.shape[2:4], output_size, stride, padding, dilation)
    dtype = values.gy.dtype
    wide = torch.promote_types(dtype, torch.float32)
    computed = Values._make([None if t is None else t.to(wide) for t in values])
    computed = computed._replace(x=F.pad(enlarge(computed.x, upsample), edge))

    useful = (True, True, values.V is not None, values.v is not None)
    totals = [
        t.new_zeros(t.shape) if need and use else None
        for t, need, use in zip(computed[:4], needed[:4], useful, strict=True)
    ]
    for at in _places(values.gy, values.P, stride, dilation, groups):
        chunk = Values._make(cut(computed, at))
        _add_chunk(cut(totals, at[:4]), chunk, stride, dilation, negative_slope, backend)
    if totals[1] is not None:
        blocks = F.pad(totals[1], [-amount for amount in edge])
        totals[1] = blocks.unflatten(3, (-1, upsample)).unflatten(2, (-1, upsample)).sum((3, 5))
    return [None if t is None else t.to(dtype) for t in totals]


def _places(
    gy: Tensor, P: Tensor, stride: Sequence[int], dilation: Sequence[int], groups: int
) -> Iterator[list[Place]]:
    """Cut the work into chunks; yield where each of the eight values is to be sliced."""
    n, out_channels, oh, ow = gy.shape
    _, channels, kh, kw, _ = P.shape
    group_out = out_channels // groups
    a_row = ow * channels * kh * kw
    rows = min(oh, max(1, CHUNK_VALUES // a_row))
    outputs = min(group_out, max(1, CHUNK_VALUES // (a_row * rows)))
    images = min(n, max(1, CHUNK_VALUES // (a_row * rows * outputs)))
    for first in range(0, out_channels, group_out):
        group = first // group_out
        inputs = slice(group * channels, (group + 1) * channels)
        for o in range(first, first + group_out, outputs):
            out = slice(o, min(o + outputs, first + group_out))
            for top in range(0, oh, rows):
                down = slice(top, min(top + rows, oh))
                bottom = (down.stop - 1) * stride[0] + (kh - 1) * dilation[0] + 1
                for image in range(0, n, images):
                    batch = slice(image, image + images)
                    picture = (batch, inputs, slice(top * stride[0], bottom))
                    features = (batch, slice(None), down)
                    grad = (batch, out, down)
                    yield [grad, picture, features, (out,), (out,), features, (out,), (out,)]


def _add_chunk(
    totals: Sequence[Tensor | None],
    chunk: Values,
    stride: Sequence[int],
    dilation: Sequence[int],
    negative_slope: float,
    backend: str,
) -> None:
    """Add the gradients in gy, x, d and P of one chunk (see :func:`tangent_gradients`)."""
    gy, x, d, P, q, v, V, r = chunk
    with torch.no_grad():
        one, other = gy.new_ones(()), gy.new_full((), negative_slope)
        slope = torch.where(_regress(gy, [(P, d)], q) > 0, one, other)
    w = (slope * _regress(gy, [(P, v), (V, d)], r)).view(len(gy), *P.shape[:4], *gy.shape[2:])

    def convolve(x: Tensor, w: Tensor) -> Tensor:
        options: tuple[Any, ...] = (None, stride, [0, 0], dilation, 1)
        if _dispatch.why_not(backend, dynamic_conv.STEM, [x, w]) is None:
            return dynamic_conv._forward(x, w, *options, backend)
        return reference.dynamic_conv2d(x, w, *options)

    _, of_x, of_d, of_P = totals
    needed = of_x is not None, of_d is not None or of_P is not None
    y, gx, gw = _products(convolve, x, w, gy, needed)
    G = None if gw is None else slope * gw.flatten(5).flatten(1, 4)
    found = (
        y,
        gx,
        None if G is None or V is None else (V.flatten(0, 3).t() @ G).view_as(d),
        None if G is None or v is None else _sum_of_products(G, v.flatten(2)).view_as(P),
    )
    for total, part in zip(totals, found, strict=True):
        if total is not None and part is not None:
            total += part


def _sum_of_products(a: Tensor, b: Tensor) -> Tensor:
    """Return ``Σ a[n]·b[n]ᵀ``."""
    return torch.addbmm(a.new_zeros(()), a, b.mT)


def _regress(
    like: Tensor, terms: Sequence[tuple[Tensor | None, Tensor | None]], bias: Tensor | None
) -> Tensor:
    """Return the sum of each ``matrix·features`` and of ``bias``: (N, W, pixels)."""
    total = like.new_zeros(()) if bias is None else bias.flatten()[:, None]
    for matrix, features in terms:
        if matrix is not None and features is not None:
            rows = matrix.flatten(0, 3).expand(len(features), -1, -1)
            total = torch.baddbmm(total, rows, features.flatten(2))
    return total


def _products(
    convolve: Callable[[Tensor, Tensor], Tensor],
    x: Tensor,
    w: Tensor,
    gy: Tensor,
    needed: Sequence[bool],
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Return A(x, w), and Bx(gy, w) and Bw(gy, x) where needed."""
    again = torch.is_grad_enabled()
    with torch.enable_grad():
        # New names for the same tensors: what is found in x must not flow on through w.
        names = [t.view_as(t) if again else t.detach().requires_grad_() for t in (x, w)]
        y = convolve(*names)
        wanted = [t for t, need in zip(names, needed, strict=True) if need]
        found = iter(torch.autograd.grad(y, wanted, gy, create_graph=again) if wanted else ())
    gx, gw = (next(found) if need else None for need in needed)
    return y, gx, gw
