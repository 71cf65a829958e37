"""Double backward of local adaptive convolution: the gradients of its gradients."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from adaconv.ops._chunks import Place, cut
from adaconv.reference.local_adaptive import local_adaptive_conv2d

#: Weights of pixels that are in memory at a time, in values of one copy; a few copies exist.
CHUNK_VALUES = 1 << 20


def double_backward(
    given: Sequence[Tensor | None],
    cotangents: Sequence[Tensor | None],
    needed: Sequence[bool],
    pitch: int,
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
    negative_slope: float,
    upsample: int,
) -> list[Tensor | None]:
    """Differentiate the gradients of x, d, P, q and a with respect to gy, x, d, P, q and a.

    The gradients are those of ``Σ gy·y``, a sum over images and output channels, and what is wanted
    is the gradient of their inner product with their cotangents. The sum is formed in chunks, each
    of which is released before the next, unless the result must itself be differentiable.

    Returns:
        The gradients in gy, x, d, P, q and a; None where not needed or zero.
    """
    gy, P = given[0], given[3]
    # An argument that is not there has no gradient.
    u = [v if t is not None else None for t, v in zip(given[1:], cotangents, strict=True)]
    if gy is None or P is None or all(v is None for v in u):
        return [None] * len(given)
    again = torch.is_grad_enabled()
    wide = torch.promote_types(gy.dtype, torch.float32)
    options = (pitch, stride, padding, dilation, 1, negative_slope, upsample)
    places = _places(gy, P, groups)

    def product(chunk: Sequence[Tensor | None], u: Sequence[Tensor | None]) -> Tensor:
        gy, *arguments = chunk
        inner = (gy * local_adaptive_conv2d(*arguments, None, *options)).sum()  # type: ignore
        pairs = [
            (t, v) for t, v in zip(arguments, u, strict=True) if t is not None and v is not None
        ]
        found = torch.autograd.grad(inner, [t for t, _ in pairs], create_graph=True)
        return torch.stack([(g * v).sum() for g, (_, v) in zip(found, pairs, strict=True)]).sum()

    u = [None if v is None else v.to(wide) for v in u]
    with torch.enable_grad():
        if again:
            # New names for the same tensors: L's gradient in x must not flow on through gy(x).
            names = [None if t is None else _alias(t) for t in given]
            wider = [None if t is None else t.to(wide) for t in names]
            parts = [product(cut(wider, at), cut(u, at[1:])) for at in places]
            return _gradients(torch.stack(parts).sum(), names, needed, create_graph=True)
        gradients: list[Any] = [None] * len(given)
        for at in places:
            chunk = [
                None if t is None else t.detach().to(wide).requires_grad_() for t in cut(given, at)
            ]
            value = product(chunk, cut(u, at[1:]))
            for i, found in enumerate(_gradients(value, chunk, needed, create_graph=False)):
                if found is None:
                    continue
                if gradients[i] is None:
                    gradients[i] = torch.zeros_like(given[i], dtype=wide)  # type: ignore[arg-type]
                gradients[i][at[i]] += found
    return [None if g is None else g.to(gy.dtype) for g in gradients]


def _alias(tensor: Tensor) -> Tensor:
    if tensor.requires_grad:
        return tensor.view_as(tensor)
    return tensor.detach().requires_grad_()


def _gradients(
    value: Tensor, inputs: Sequence[Tensor | None], needed: Sequence[bool], create_graph: bool
) -> list[Tensor | None]:
    wanted = [t for t, need in zip(inputs, needed, strict=True) if need and t is not None]
    found = iter(torch.autograd.grad(value, wanted, create_graph=create_graph, allow_unused=True))
    return [next(found) if need else None for need in needed]


def _places(gy: Tensor, P: Tensor, groups: int) -> list[list[Place]]:
    """Cut the work into chunks; say where each of gy, x, d, P, q and a is to be sliced."""
    return [
        [(image, out), (image, channels), (image,), (out,), (out,), (image,)]
        for out, channels in _channels(gy, P, groups)
        for image in (slice(i, i + 1) for i in range(len(gy)))
    ]


def _channels(gy: Tensor, P: Tensor, groups: int) -> Iterator[tuple[slice, slice]]:
    """Yield some outputs of one group, and the group's inputs."""
    of_group = len(P) // groups
    step = max(1, CHUNK_VALUES // max(1, gy.shape[2:].numel() * P.shape[1:4].numel()))
    for group in range(groups):
        inputs = slice(group * P.shape[1], (group + 1) * P.shape[1])
        for first in range(group * of_group, (group + 1) * of_group, step):
            yield slice(first, min(first + step, (group + 1) * of_group)), inputs
