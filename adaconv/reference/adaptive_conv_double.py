"""Double backward of adaptive convolution: the gradients of its gradients, in bounded memory."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from adaconv.reference.adaptive_conv import apply, enlarge, frame, regress

#: Per-pixel weights that are in memory at a time, in values of one copy; a few copies exist.
CHUNK_VALUES = 1 << 20

Place = tuple[slice, ...]


class Values(NamedTuple):
    """The arguments of the backward, then the cotangents of its results (gx, gd, gP, gq)."""

    gy: Tensor
    x: Tensor
    d: Tensor
    P: Tensor
    q: Tensor | None
    u: Tensor | None
    v: Tensor | None
    V: Tensor | None
    r: Tensor | None


def double_backward(
    values: Values,
    needed: Sequence[bool],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
    negative_slope: float,
    upsample: int,
) -> list[Tensor | None]:
    """Differentiate the gradients of x, d, P and q with respect to gy, x, d, P and q.

    The inner product of the gradients with their cotangents (u, v, V, r) is

    ``L = Σ gy·m·((P·d + q)·u[p+t] + (P·v + V·d + r)·x[p+t])``

    where m is the slope of the activation at P·d + q, 1 or ``negative_slope``, and x and u are
    enlarged ``upsample`` times. What is wanted is
    the gradient of L. L is a sum over images, output channels and output rows, so it is formed in
    chunks of bounded size, and each is released before the next, unless the result must itself be
    differentiable.

    Returns:
        The gradients in gy, x, d, P and q; None where not needed or zero.
    """
    dtype = values.gy.dtype
    size = [values.x.shape[i] * upsample for i in (2, 3)]
    output_size = values.gy.shape[2:]
    edge = frame(size, values.P.shape[2:4], output_size, stride, padding, dilation)
    differentiable = torch.is_grad_enabled()
    if differentiable:
        # New names for the same tensors: L's gradient in x must not flow on through gy(x) or u(x).
        aliases = [None if t is None else t.view_as(t) for t in values[:5]]
        values = Values._make([*aliases, *values[5:]])
    wide = torch.promote_types(dtype, torch.float32)
    computed = Values._make([None if t is None else t.to(wide) for t in values])
    u = computed.u
    computed = computed._replace(
        x=F.pad(enlarge(computed.x, upsample), edge),
        u=None if u is None else F.pad(enlarge(u, upsample), edge),
    )

    def product(chunk: Values) -> Tensor:
        return _inner_product(chunk, stride, dilation, negative_slope)

    places = _places(values.gy, values.P, stride, dilation, groups)
    if differentiable:
        total = torch.stack([product(_cut(computed, at)) for at in places]).sum()
        return _gradients(total, values, needed, create_graph=True)

    gradients: list[Tensor | None] = [None] * 5
    for at in places:
        chunk = Values._make([None if t is None else t.detach() for t in _cut(computed, at)])
        for tensor, need in zip(chunk, needed, strict=False):
            if need and tensor is not None:
                tensor.requires_grad_()
        with torch.enable_grad():
            value = product(chunk)
        for i, found in enumerate(_gradients(value, chunk, needed, create_graph=False)):
            if found is None:
                continue
            whole = gradients[i]
            if whole is None:
                whole = gradients[i] = found.new_zeros(computed[i].shape)  # type: ignore[union-attr]
            whole[at[i]] += found
    if gradients[1] is not None:
        enlarged = F.pad(gradients[1], [-amount for amount in edge])
        blocks = enlarged.unflatten(3, (-1, upsample)).unflatten(2, (-1, upsample))
        gradients[1] = blocks.sum((3, 5))
    return [None if g is None else g.to(dtype) for g in gradients]


def _gradients(
    value: Tensor, inputs: Values, needed: Sequence[bool], create_graph: bool
) -> list[Tensor | None]:
    wanted = [t for t, need in zip(inputs, needed, strict=False) if need and t is not None]
    if not value.requires_grad:
        return [None] * len(needed)
    found = iter(torch.autograd.grad(value, wanted, create_graph=create_graph, allow_unused=True))
    return [next(found) if need else None for need in needed]


def _cut(values: Values, at: Sequence[Place]) -> Values:
    return Values._make(
        [None if t is None else t[place] for t, place in zip(values, at, strict=True)]
    )


def _places(
    gy: Tensor, P: Tensor, stride: Sequence[int], dilation: Sequence[int], groups: int
) -> Iterator[list[Place]]:
    """Cut the work into chunks; yield where each of the nine values is to be sliced."""
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
                    weights = (out,)
                    grad = (batch, out, down)
                    yield [grad, *(picture, features, weights, weights) * 2]


def _inner_product(
    chunk: Values, stride: tuple[int, int], dilation: tuple[int, int], negative_slope: float
) -> Tensor:
    """L of one chunk (see :func:`double_backward`)."""
    gy, x, d, P, q, u, v, V, r = chunk
    before = regress(d, P, q)
    with torch.no_grad():
        slope = torch.where(before > 0, 1.0, negative_slope).to(before.dtype)
    terms = []
    if u is not None:
        terms.append((before, u))
    if v is not None:
        terms.append((regress(v, P, None), x))
    if V is not None:
        terms.append((regress(d, V, None), x))
    if r is not None:
        terms.append((r.flatten().expand_as(before), x))
    total = gy.new_zeros(())
    for weights, picture in terms:
        y = apply(weights * slope, picture, d, P, stride, (0, 0), dilation, groups=1)
        total = total + (gy * y).sum()
    return total
