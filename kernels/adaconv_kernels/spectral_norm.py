"""Spectral normalisation on GPUs: launches of the Triton kernels, each over all weights at once."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from adaconv_kernels import _device, _tuning
from adaconv_kernels import spectral_norm_kernels as kernels
from adaconv_kernels._device import cdiv, power_of_2

Config = dict[str, int]

#: What each kernel is compiled for: values of a row at a time; rows at a time, and columns of a
#: program; values of a program. First with more loads on their way, behind it with more programs.
#: The kernel that finishes has one program a matrix, and replaces what it reads: one configuration.
CONFIGS: dict[str, tuple[Config, ...]] = {
    "rows_kernel": ({"BLOCK": 1024, "num_warps": 4}, {"BLOCK": 512, "num_warps": 2}),
    "columns_kernel": (
        {"BLOCK_R": 32, "BLOCK_C": 64, "num_warps": 4},
        {"BLOCK_R": 32, "BLOCK_C": 32, "num_warps": 4},
    ),
    "finish_kernel": ({"BLOCK": 1024, "num_warps": 4},),
    "quotient_kernel": ({"BLOCK": 2048, "num_warps": 4}, {"BLOCK": 1024, "num_warps": 4}),
    "gradient_kernel": ({"BLOCK": 2048, "num_warps": 4}, {"BLOCK": 1024, "num_warps": 4}),
}

#: Parts of a sum that are read at a time.
PARTS = 1024


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
        kernel, blocks = kernels.rows_kernel, max(rows for rows, _ in self.sizes)

        def run(config: Config) -> None:
            self._launch(kernel, blocks, state, result, NORMALISE=normalise, **config)

        self._tuned(kernel, run)

    def columns(self, state: Tensor) -> None:
        """Replace every v by t = Wᵀ·s / |s|."""
        kernel, widest = kernels.columns_kernel, max(columns for _, columns in self.sizes)

        def run(config: Config) -> None:
            self._launch(kernel, cdiv(widest, config["BLOCK_C"]), state, **config)

        self._tuned(kernel, run)

    def finish(self, state: Tensor, products: Tensor, normalise: bool) -> None:
        """Normalise s and t, and write every σ."""
        kernel = kernels.finish_kernel

        def run(config: Config) -> None:
            self._launch(kernel, 1, state, products, NORMALISE=normalise, **config)

        self._tuned(kernel, run)

    def quotients(self, state: Tensor) -> list[Tensor]:
        """Return W / σ."""
        kernel, results = kernels.quotient_kernel, self._results()

        def run(config: Config) -> None:
            self._launch(kernel, self._blocks(config), state, tuple(results), **config)

        self._tuned(kernel, run)
        return self._shaped(results)

    def gradients(self, gradients: Sequence[Tensor], state: Tensor) -> list[Tensor]:
        """Return the gradients of W: their products with W by blocks, and what they add up to."""
        kernel, results = kernels.gradient_kernel, self._results()
        gs = tuple(self._matrices(gradients))

        def run(config: Config) -> None:
            blocks = self._blocks(config)
            parts = state.new_empty((len(self.sizes), blocks))
            self._launch(kernels.product_kernel, blocks, parts, gs, **config)
            self._launch(
                kernel, blocks, state, parts, gs, tuple(results),
                PARTS=power_of_2(min(blocks, PARTS)), **config,
            )  # fmt: skip

        self._tuned(kernel, run)
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

    def _blocks(self, config: Config) -> int:
        return max(cdiv(rows * columns, config["BLOCK"]) for rows, columns in self.sizes)

    def _tuned(self, kernel: Any, run: Callable[[Config], None]) -> None:
        """Run a kernel with one of its configurations, by the largest matrix's size."""
        largest = (power_of_2(max(sizes)) for sizes in zip(*self.sizes, strict=True))
        bucket = self.weights[0].dtype, len(self.sizes), *largest
        _tuning.tuned(kernel, bucket, CONFIGS[kernel.__name__], run, self.matrices[0])

    def _launch(self, kernel, blocks: int, *more: Any, **constants: Any) -> None:
        """Start so many programs for every matrix; those that a smaller one lacks end at once."""
        rows, columns = zip(*self.sizes, strict=True)
        with _device.guard(self.matrices[0]):
            _device.launch(
                kernel, (blocks, len(self.sizes), 1), tuple(self.matrices), rows, columns,
                tuple(self.starts[:-1]), self.starts[-1], *more, **self.constants, **constants,
            )  # fmt: skip
