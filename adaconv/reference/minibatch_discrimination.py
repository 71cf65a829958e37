"""Reference of minibatch discrimination, and the gradients of its gradients."""

from collections.abc import Sequence

import torch
from torch import Tensor

#: Values of one array over pairs that the double backward has in memory at a time; a few exist.
CHUNK_VALUES = 1 << 20


def closeness(M: Tensor, Z: Tensor, skip: int | None) -> Tensor:
    """Return ``exp(-Σ_c |M[i,b,c] - Z[j,b,c]|)``, (N, J, B); 0 where ``j = i + skip``."""
    distances = (M[:, None] - Z).abs().sum(3)
    if skip is not None:
        own = torch.arange(len(M), device=M.device)[:, None] + skip
        same = own == torch.arange(len(Z), device=M.device)
        distances = distances.masked_fill(same[..., None], torch.inf)
    return torch.exp(-distances)


def minibatch_discrimination(M: Tensor, Z: Tensor | None, skip: int | None) -> Tensor:
    """Return ``o[i,b] = Σ_j exp(-Σ_c |M[i,b,c] - Z[j,b,c]|)``, (N, B), without ``j = i + skip``.

    Arguments as in :func:`adaconv.minibatch_discrimination`, checked there; where ``Z`` is None it
    is ``M``, and where ``skip`` is None nothing is left out.
    """
    return closeness(M, M if Z is None else Z, skip).sum(1)


def double_backward(
    g: Tensor,
    M: Tensor,
    Z: Tensor | None,
    skip: int | None,
    cotangents: Sequence[Tensor | None],
    needed: Sequence[bool],
) -> list[Tensor | None]:
    """Differentiate the gradients of M and Z, whose cotangents are u and v, in g, M and Z.

    With k the :func:`closeness` and ``s = sign(M[i,b,c] - Z[j,b,c])``, their inner product is

    ``L = -Σ g[i,b]·k[i,j,b]·s·(u[i,b,c] - v[j,b,c])``

    summed over i, j, b and c; where Z is M, v is u. What is wanted is the gradient of L. L is a sum
    over rows i, so it is formed in chunks of bounded size, and each is released before the next,
    unless the result must itself be differentiable.

    Returns:
        The gradients in g, M and Z; None where not needed.
    """
    differentiable = torch.is_grad_enabled()
    u, v = cotangents

    def renamed(tensor: Tensor) -> Tensor:
        """The same values under a new name: L's gradient in M must not flow on through g or u."""
        return tensor.view_as(tensor) if differentiable else tensor.detach().requires_grad_()

    g, M, Z = renamed(g), renamed(M), None if Z is None else renamed(Z)
    wanted = [t for t, need in zip((g, M, Z), needed, strict=True) if need and t is not None]
    chunk = max(1, CHUNK_VALUES // max(1, (M if Z is None else Z).numel()))
    places = [slice(i, i + chunk) for i in range(0, max(1, len(M)), chunk)]

    def product(places: Sequence[slice]) -> Tensor:
        parts = [_inner_product(g, M, Z, skip, u, v, at) for at in places]
        return torch.stack(parts).sum()

    totals = [torch.zeros_like(t) for t in wanted]
    with torch.enable_grad():
        for together in [places] if differentiable else [[at] for at in places]:
            found = torch.autograd.grad(
                product(together), wanted, create_graph=differentiable, materialize_grads=True
            )
            totals = [total + one for total, one in zip(totals, found, strict=True)]
    result = iter(totals)
    return [next(result) if need else None for need in needed]


def _inner_product(
    g: Tensor,
    M: Tensor,
    Z: Tensor | None,
    skip: int | None,
    u: Tensor | None,
    v: Tensor | None,
    at: slice,
) -> Tensor:
    """L of some rows (see :func:`double_backward`)."""
    x, z, v = M[at], M if Z is None else Z, u if Z is None else v
    sign = (x[:, None] - z).sign()
    slope = torch.zeros_like(sign[..., 0])
    if u is not None:
        slope = slope + (sign * u[at, None]).sum(3)
    if v is not None:
        slope = slope - (sign * v).sum(3)
    k = closeness(x, z, None if skip is None else skip + at.start)
    return -(g[at, None] * k * slope).sum()
