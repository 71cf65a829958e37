"""Spectral normalisation on GPUs: launches of the Triton kernels, each over all weights at once."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from adaconv_kernels import _device
from adaconv_kernels import spectral_norm_kernels as kernels
from adaconv_kernels._device import cdiv, power_of_2

#: Values of a row that a program adds up at a time; columns of a program, and rows at a time;
#: values of a weight that a program divides.
ROW, COLUMNS, ROWS, VALUES = 1024, 64, 32, 2048


def forward(
    weights: Sequence[Tensor], state: Tensor, iterations: int, dims: Sequence[int], eps: float
) -> tuple[list[Tensor], Tensor]:
    """Return the normalised weights, and the state after the iteration with every σ behind it."""
    call = _Call(weights, dims, eps)
    new_state = state.new_empty(len(state) + len(weights), dtype=torch.float32)
    # Until it is finished, it holds s = W·v and t = Wᵀ·s / |s|, neither of them normalised.
    new_state[: len(state)] = state
    for step in range(iterations):
        call.rows(new_state, new_state, normalise=step > 0)
        call.columns(new_state)
    products = new_state
    if iterations == 0:
        products = torch.empty_like(new_state)
        call.rows(new_state, products, normalise=False)
    call.finish(new_state, products, iterations > 0)
    return call.quotients(new_state), new_state


def backward(
    gradients: Sequence[Tensor],
    weights: Sequence[Tensor],
    state: Tensor,
    dims: Sequence[int],
    eps: float,
) -> list[Tensor]:
    """Return ``g/σ - (Σ g·W)/σ² · uvᵀ`` for every weight."""
    return _Call(weights, dims, eps).gradients(gradients, state)


class _Call:
    """The matrices of one call, and the launches on them."""

    def __init__(self, weights: Sequence[Tensor], dims: Sequence[int], eps: float):
        self.weights, self.dims = weights, dims
        self.matrices = self._matrices(weights)
        self.sizes = [tuple(W.shape) for W in self.matrices]
        self.starts = [0]
        for rows, columns in self.sizes:
            self.starts.append(self.starts[-1] + rows + columns)
        self.constants = {"COUNT": len(weights), "EPS": eps}

    def rows(self, state: Tensor, result: Tensor, normalise: bool) -> None:
        """Replace every u by s = W·v, of a v that is normalised first."""
        blocks = max(rows for rows, _ in self.sizes)
        self._launch(
            kernels.rows_kernel, blocks, state, result, NORMALISE=normalise, BLOCK=ROW, num_warps=4
        )

    def columns(self, state: Tensor) -> None:
        """Replace every v by t = Wᵀ·s / |s|."""
        blocks = max(cdiv(columns, COLUMNS) for _, columns in self.sizes)
        self._launch(
            kernels.columns_kernel, blocks, state, BLOCK_R=ROWS, BLOCK_C=COLUMNS, num_warps=4
        )

    def finish(self, state: Tensor, products: Tensor, normalise: bool) -> None:
        """Normalise s and t, and write every σ."""
        self._launch(
            kernels.finish_kernel, 1, state, products, NORMALISE=normalise, BLOCK=ROW, num_warps=4
        )

    def quotients(self, state: Tensor) -> list[Tensor]:
        """Return W / σ."""
        results = self._results()
        self._launch(
            kernels.quotient_kernel, self._blocks(), state, tuple(results), BLOCK=VALUES,
            num_warps=4,
        )  # fmt: skip
        return self._shaped(results)

    def gradients(self, gradients: Sequence[Tensor], state: Tensor) -> list[Tensor]:
        """Return the gradients of W: their products with W by blocks, and what they add up to."""
        blocks = self._blocks()
        gs, results = tuple(self._matrices(gradients)), self._results()
        parts = state.new_empty((len(self.sizes), blocks))
        self._launch(kernels.product_kernel, blocks, parts, gs, BLOCK=VALUES, num_warps=4)
        self._launch(
            kernels.gradient_kernel, blocks, state, parts, gs, tuple(results), BLOCK=VALUES,
            PARTS=power_of_2(min(blocks, ROW)), num_warps=4,
        )  # fmt: skip
        return self._shaped(results)

    def _matrices(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Return the tensors as contiguous matrices."""
        return [
            t.detach().movedim(dim, 0).flatten(1).contiguous()
            for t, dim in zip(tensors, self.dims, strict=True)
        ]

    def _results(self) -> list[Tensor]:
        wide = torch.float32 if _device.INTERPRETED else self.weights[0].dtype
        return [torch.empty_like(W, dtype=wide) for W in self.matrices]

    def _shaped(self, matrices: Sequence[Tensor]) -> list[Tensor]:
        """Return the matrices in the shapes, dtype and order of dimensions of the weights."""
        return [
            result.to(weight.dtype).view(weight.movedim(dim, 0).shape).movedim(0, dim).contiguous()
            for result, weight, dim in zip(matrices, self.weights, self.dims, strict=True)
        ]

    def _blocks(self) -> int:
        return max(cdiv(rows * columns, VALUES) for rows, columns in self.sizes)

    def _launch(self, kernel, blocks: int, *more: Any, **constants: Any) -> None:
        """Start so many programs for every matrix; those that a smaller one lacks end at once."""
        rows, columns = zip(*self.sizes, strict=True)
        with _device.guard(self.matrices[0]):
            _device.launch(
                kernel, (blocks, len(self.sizes), 1), tuple(self.matrices), rows, columns,
                tuple(self.starts[:-1]), self.starts[-1], *more, **self.constants, **constants,
            )  # fmt: skip
