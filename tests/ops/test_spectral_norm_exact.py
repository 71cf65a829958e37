"""The kernels against the reference in fp64: to a few units in the last place, as square roots are.

This also runs in a process of its own for every instruction set, with scratch memory filled with
NaN.
"""

import pytest
import torch
from spectral_norm_cases import LARGE, WEIGHTS, drawn, results

from adaconv import spectral_normalize

#: Allowed error of a result's norm, in units of the last place.
UNITS = 16


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n", [0, 1, 3])
@pytest.mark.parametrize("weights", [WEIGHTS, LARGE], ids=["small", "large"])
def test_equals_the_reference(cpu_backend, weights, n, dtype):
    tensors, us, vs = drawn(dtype, weights=weights)
    # Before u and v have approached the singular vectors, σ is a sum that cancels.
    dims = [dim for _, dim in weights]
    spectral_normalize(tensors, us, vs, 5, dims=dims, backend="reference")
    given = tensors, us, vs
    double = [[t.detach().double().requires_grad_(t.requires_grad) for t in part] for part in given]
    expected = results(weights, *double, n, backend="reference")
    for got, want in zip(results(weights, *given, n, backend=cpu_backend), expected, strict=True):
        assert got.dtype == dtype
        assert (got - want).norm() <= UNITS * torch.finfo(dtype).eps * want.norm()
