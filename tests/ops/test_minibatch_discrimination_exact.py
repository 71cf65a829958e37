"""The kernels against the reference in fp64: to a few units in the last place, as exp is.

This also runs in a process of its own for every instruction set, with scratch memory filled with
NaN.
"""

import pytest
import torch
from minibatch_discrimination_cases import SHAPES, drawn, results

from adaconv import minibatch_discrimination

CALLS = [
    *((shape, True) for shape in SHAPES),
    *((shape, False) for shape in SHAPES if shape[1] is None),
]

#: Allowed error of a result's norm, in units of the last place.
UNITS = 16


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("shape", "exclude_self"), CALLS, ids=str)
def test_equals_the_reference(cpu_backend, shape, exclude_self, dtype):
    sets = drawn(shape, dtype)
    exact = [t.detach().double().requires_grad_() for t in sets]
    expected = results(exact, "reference", exclude_self=exclude_self)
    for got, want in zip(
        results(sets, cpu_backend, exclude_self=exclude_self), expected, strict=True
    ):
        assert got.dtype == dtype
        scale = max(want.norm(), want.numel() ** 0.5)  # gradients of few samples cancel
        assert (got - want).norm() <= UNITS * torch.finfo(dtype).eps * scale


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_distance(cpu_backend, dtype):
    """One pair each, from equal to infinitely far apart; where exp underflows, 0 is right."""
    last = {torch.float32: 87, torch.float64: 708}[dtype]
    distances = torch.cat([torch.linspace(0, last, 5001), torch.tensor([0.0, 1e-30])]).to(dtype)
    ones = torch.zeros(1, 1, 1, dtype=dtype)
    got = minibatch_discrimination(distances.view(-1, 1, 1), ones, backend=cpu_backend).flatten()
    exact = torch.exp(-distances.double())
    error = ((got - exact) / exact).abs().max()
    assert error <= (1 if dtype == torch.float32 else 2) * torch.finfo(dtype).eps
    far = torch.tensor([last * 1.001, 1e30, torch.inf], dtype=dtype).view(-1, 1, 1)
    assert not minibatch_discrimination(far, ones, backend=cpu_backend).any()


def test_equal_values_have_no_sign(cpu_backend):
    """The gradient of |0| is 0, of samples that are equal and of those that are so in one c."""
    M = torch.tensor([[[0.0, 1.0]], [[0.0, 1.0]], [[0.0, 3.0]]], requires_grad=True)
    _, gradient = results([M], cpu_backend)
    _, expected = results([M], "reference")
    assert not gradient[..., 0].any()
    torch.testing.assert_close(gradient, expected)
