"""Reference of spectral normalisation."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def matrix(weight: Tensor, dim: int) -> Tensor:
    """Return ``weight`` as the matrix whose rows are its slices along ``dim``."""
    return weight.movedim(dim, 0).flatten(1)


def vectors(
    state: Tensor, weights: Sequence[Tensor], dims: Sequence[int]
) -> tuple[list[Tensor], list[Tensor]]:
    """Return every u and every v, which lie in ``state`` as u, v, u, v, ..., and more behind."""
    rows = [weight.shape[dim] for weight, dim in zip(weights, dims, strict=True)]
    pairs = ((count, w.numel() // count) for count, w in zip(rows, weights, strict=True))
    sizes = [size for pair in pairs for size in pair]
    parts = list(state[: sum(sizes)].split(sizes))
    return parts[::2], parts[1::2]


def iterate(
    weight: Tensor, u: Tensor, v: Tensor, iterations: int, eps: float
) -> tuple[Tensor, Tensor]:
    """Return u and v after steps of power iteration on the matrix ``weight``; no gradient flows."""
    with torch.no_grad():
        u, v = u.clone(), v.clone()
        for _ in range(iterations):
            u = F.normalize(weight @ v, dim=0, eps=eps)
            v = F.normalize(weight.t() @ u, dim=0, eps=eps)
    return u, v


def scale(weight: Tensor, u: Tensor, v: Tensor, eps: float) -> Tensor:
    """Return ``uᵀ·weight·v``, by which the matrix is divided; ``eps`` where that vanishes."""
    sigma = torch.dot(u, weight @ v)
    return torch.where(sigma.abs() < eps, eps, sigma)


def spectral_normalize(
    weights: Sequence[Tensor],
    us: Sequence[Tensor],
    vs: Sequence[Tensor],
    iterations: int,
    dims: Sequence[int],
    eps: float,
) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """Divide every weight by its spectral norm ``σ = uᵀWv``.

    Arguments as in :func:`adaconv.spectral_normalize`, checked there.

    Returns:
        The normalised weights, and the vectors u and v after the power iteration.
    """
    normalised, new_us, new_vs = [], [], []
    for weight, u, v, dim in zip(weights, us, vs, dims, strict=True):
        rows = matrix(weight, dim)
        u, v = iterate(rows, u, v, iterations, eps)
        normalised.append(weight / scale(rows, u, v, eps))
        new_us.append(u)
        new_vs.append(v)
    return normalised, new_us, new_vs


def backward(
    gradients: Sequence[Tensor],
    weights: Sequence[Tensor],
    us: Sequence[Tensor],
    vs: Sequence[Tensor],
    dims: Sequence[int],
    eps: float,
) -> list[Tensor]:
    """Return the gradient ``g/σ - (Σ g·W)/σ² · uvᵀ`` of every weight, differentiable in g and W."""
    found = []
    for g, weight, u, v, dim in zip(gradients, weights, us, vs, dims, strict=True):
        sigma = torch.dot(u, matrix(weight, dim) @ v)
        vanishes = sigma.abs() < eps
        sigma = torch.where(vanishes, eps, sigma)
        slope = torch.where(vanishes, 0.0, (g * weight).sum() / sigma**2)
        outer = torch.outer(u, v).unflatten(1, weight.movedim(dim, 0).shape[1:]).movedim(0, dim)
        found.append(g / sigma - slope * outer)
    return found
