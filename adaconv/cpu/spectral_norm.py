"""Spectral normalisation on the CPU: few passes over each weight, by PyTorch's own products.

A step of power iteration reads W twice, and σ costs no third time: with ``t = Wᵀu`` the new v is
``t/‖t‖``, and ``σ = uᵀWv = t·v``. The backward pass reads the gradient twice and W once.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from adaconv.reference.spectral_norm import matrix


def forward(
    weights: Sequence[Tensor],
    us: Sequence[Tensor],
    vs: Sequence[Tensor],
    iterations: int,
    dims: Sequence[int],
    eps: float,
) -> tuple[list[Tensor], list[Tensor], list[Tensor], Tensor]:
    """Return the normalised weights, u and v after the iteration, and every σ."""
    found = [
        _normalise(*given, iterations, eps) for given in zip(weights, us, vs, dims, strict=True)
    ]
    normalised, new_us, new_vs, sigmas = (list(column) for column in zip(*found, strict=True))
    return normalised, new_us, new_vs, torch.stack(sigmas)


def _normalise(
    weight: Tensor, u: Tensor, v: Tensor, dim: int, iterations: int, eps: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    dtype, weight = weight.dtype, _wide(weight)
    rows, u, v = matrix(weight, dim), _wide(u), _wide(v)
    image = rows.t() @ u if iterations == 0 else v
    for _ in range(iterations):
        u = F.normalize(rows @ v, dim=0, eps=eps)
        image = rows.t() @ u
        v = F.normalize(image, dim=0, eps=eps)
    sigma = torch.dot(image, v)
    divided = weight / torch.where(sigma.abs() < eps, eps, sigma)
    # Results of an operator may not be its arguments.
    return divided.to(dtype), u.to(dtype, copy=True), v.to(dtype, copy=True), sigma


def backward(
    gradients: Sequence[Tensor],
    weights: Sequence[Tensor],
    us: Sequence[Tensor],
    vs: Sequence[Tensor],
    sigmas: Tensor,
    dims: Sequence[int],
    eps: float,
) -> list[Tensor]:
    """Return ``g/σ - (Σ g·W)/σ² · uvᵀ`` for every weight."""
    given = zip(gradients, weights, us, vs, sigmas.tolist(), dims, strict=True)
    return [_differentiate(g, w, u, v, sigma, dim, eps) for g, w, u, v, sigma, dim in given]


def _differentiate(
    gradient: Tensor, weight: Tensor, u: Tensor, v: Tensor, sigma: float, dim: int, eps: float
) -> Tensor:
    g = matrix(_wide(gradient), dim)
    if abs(sigma) < eps:
        found = g / eps
    else:
        inner = torch.dot(g.flatten(), matrix(_wide(weight), dim).flatten()).item()
        found = torch.addr(g, _wide(u), _wide(v), beta=1 / sigma, alpha=-inner / sigma**2)
    shape = weight.movedim(dim, 0).shape
    return found.to(weight.dtype).view(shape).movedim(0, dim).contiguous()


def _wide(tensor: Tensor) -> Tensor:
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
