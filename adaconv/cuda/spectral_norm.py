"""Spectral normalisation on CUDA: allocation and the calls into csrc/cuda."""

import ctypes
from collections.abc import Sequence

import torch
from torch import Tensor

from adaconv import cuda
from adaconv.cpu.spectral_norm import shaped
from adaconv.cuda._native import argument, arguments
from adaconv.reference.spectral_norm import matrix

#: Blocks that add up a matrix's products with its gradient.
PARTS = 64


def forward(
    weights: Sequence[Tensor], state: Tensor, iterations: int, dims: Sequence[int], eps: float
) -> tuple[list[Tensor], Tensor]:
    """Return the normalised weights, and the state after the iteration with every σ behind it."""
    given = _matrices(weights, dims)
    new_state = state.new_empty(len(state) + len(weights), dtype=torch.float32)
    new_state[: len(state)] = state
    products = torch.empty_like(new_state) if iterations == 0 else None
    results = [torch.empty_like(W) for W in given]
    cuda.library.call(
        "spectral_norm_forward", given[0], len(given), arguments(given), argument(new_state),
        argument(products), iterations, ctypes.c_float(eps), arguments(results),
    )  # fmt: skip
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
    parts = state.new_empty(len(given), PARTS)
    results = [torch.empty_like(W) for W in given]
    cuda.library.call(
        "spectral_norm_backward", given[0], len(given), arguments(gs), arguments(given),
        argument(state), argument(parts), ctypes.c_float(eps), arguments(results),
    )  # fmt: skip
    return shaped(results, weights, dims)


def _matrices(tensors: Sequence[Tensor], dims: Sequence[int]) -> list[Tensor]:
    return [matrix(t, dim).contiguous() for t, dim in zip(tensors, dims, strict=True)]
