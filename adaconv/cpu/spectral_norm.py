"""Spectral normalisation on the CPU: allocation, dtypes and the calls into ``adaconv._C``."""

from collections.abc import Sequence

import torch
from torch import Tensor

from adaconv import cpu
from adaconv.cpu._native import SUFFIX, address
from adaconv.reference.spectral_norm import matrix


def forward(
    weights: Sequence[Tensor], state: Tensor, iterations: int, dims: Sequence[int], eps: float
) -> tuple[list[Tensor], Tensor]:
    """Return the normalised weights, and the state after the iteration with every σ behind it."""
    given = _matrices(weights, dims)
    new_state = torch.empty(len(state) + len(weights), dtype=given[0].dtype)
    new_state[: len(state)] = state
    results = [torch.empty_like(W) for W in given]
    arguments = _arguments(given, new_state, [None] * len(given), results)
    _native("forward", new_state.dtype)(arguments, iterations, eps)
    return shaped(results, weights, dims), new_state


def backward(
    gradients: Sequence[Tensor],
    weights: Sequence[Tensor],
    state: Tensor,
    dims: Sequence[int],
    eps: float,
) -> list[Tensor]:
    """Return ``g/σ - (Σ g·W)/σ² · uvᵀ`` for every weight."""
    given, gs = _matrices(weights, dims), _matrices(gradients, dims)
    results = [torch.empty_like(W) for W in given]
    _native("backward", state.dtype)(_arguments(given, state, gs, results), eps)
    return shaped(results, weights, dims)


def _arguments(
    matrices: Sequence[Tensor],
    state: Tensor,
    gradients: Sequence[Tensor | None],
    results: Sequence[Tensor],
) -> list[tuple]:
    """Return what the kernels take of each matrix: its sizes, and the addresses of its parts."""
    arguments = []
    size = state.element_size()
    u, sigma = state.data_ptr(), state[-len(matrices) :].data_ptr()
    for W, g, result in zip(matrices, gradients, results, strict=True):
        rows, columns = W.shape
        v = u + rows * size
        arguments.append((rows, columns, address(W), u, v, sigma, address(g), address(result)))
        u, sigma = v + columns * size, sigma + size
    return arguments


def _matrices(tensors: Sequence[Tensor], dims: Sequence[int]) -> list[Tensor]:
    return [_wide(matrix(t, dim)) for t, dim in zip(tensors, dims, strict=True)]


def shaped(
    matrices: Sequence[Tensor], weights: Sequence[Tensor], dims: Sequence[int]
) -> list[Tensor]:
    """Return the matrices in the shapes, dtype and order of dimensions of the weights."""
    return [
        result.to(weight.dtype)
        .view(weight.shape if dim == 0 else weight.movedim(dim, 0).shape)
        .movedim(0, dim)
        .contiguous()
        for result, weight, dim in zip(matrices, weights, dims, strict=True)
    ]


def _wide(tensor: Tensor) -> Tensor:
    """Return the tensor contiguous, and in float32 at least."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32)).contiguous()


def _native(function: str, dtype: torch.dtype):
    return getattr(cpu._C, f"spectral_norm_{function}_{SUFFIX[dtype]}")
