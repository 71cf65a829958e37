"""Spectral normalisation: values, gradients of every order, integration with PyTorch."""

import pytest
import torch
import torch.nn.functional as F
from spectral_norm_cases import WEIGHTS, drawn
from torch.nn.utils.parametrizations import _SpectralNorm

from adaconv import spectral_normalize

DIMS = [dim for _, dim in WEIGHTS]


def normalize(weights, us, vs, n, **options):
    """Normalise without a change to ``us`` and ``vs``."""
    us, vs = [u.clone() for u in us], [v.clone() for v in vs]
    return tuple(spectral_normalize(weights, us, vs, n, dims=DIMS, **options))


@pytest.mark.parametrize("n", [0, 1, 3])
def test_equals_pytorch(backend, n):
    weights, us, vs = drawn()
    expected = []
    for weight, u, v, dim in zip(weights, us, vs, DIMS, strict=True):
        theirs = _SpectralNorm(weight, max(n, 1), dim).train(n > 0)
        theirs._u.copy_(u), theirs._v.copy_(v)
        expected.append((theirs(weight), theirs._u, theirs._v))
    for found, *want in zip(
        spectral_normalize(weights, us, vs, n, dims=DIMS, backend=backend), expected, strict=True
    ):
        torch.testing.assert_close(found, want[0][0])
    for i, (_, u, v) in enumerate(expected):
        torch.testing.assert_close([us[i], vs[i]], [u, v])


def test_without_iterations_nothing_is_updated(backend):
    weights, us, vs = drawn()
    before = [t.clone() for t in (*us, *vs)]
    spectral_normalize(weights, us, vs, 0, dims=DIMS, backend=backend)
    assert all(map(torch.equal, before, (*us, *vs)))


def test_the_norm_is_the_largest_singular_value(backend):
    weights, us, vs = drawn()
    for (_, dim), found in zip(
        WEIGHTS, normalize(weights, us, vs, 200, backend=backend), strict=True
    ):
        largest = torch.linalg.matrix_norm(found.movedim(dim, 0).flatten(1), 2)
        torch.testing.assert_close(largest, torch.ones_like(largest))


@pytest.mark.parametrize("n", [0, 1])
def test_gradients_equal_those_through_constant_vectors(backend, n):
    weights, us, vs = drawn()
    found = normalize(weights, us, vs, n, backend=backend)
    new_us, new_vs = [u.clone() for u in us], [v.clone() for v in vs]
    spectral_normalize(weights, new_us, new_vs, n, dims=DIMS)
    gradients = torch.autograd.grad([y.sin().sum() for y in found], weights)
    for got, weight, u, v, dim in zip(gradients, weights, new_us, new_vs, DIMS, strict=True):
        sigma = u @ weight.movedim(dim, 0).flatten(1) @ v
        (want,) = torch.autograd.grad((weight / sigma).sin().sum(), weight)
        torch.testing.assert_close(got, want)


def test_gradients_of_both_orders(backend):
    weights, us, vs = drawn()

    def function(*weights):
        return normalize(weights, us, vs, 0, backend=backend)

    assert torch.autograd.gradcheck(function, weights)
    assert torch.autograd.gradgradcheck(function, weights)


def test_two_passes_before_one_backward_pass(backend):
    """The second pass updates u and v; the first one's gradients are those of its own."""
    weights, us, vs = drawn()
    first = spectral_normalize(weights, us, vs, 1, dims=DIMS, backend=backend)
    alone = torch.autograd.grad([y.sum() for y in first], weights, retain_graph=True)
    spectral_normalize(weights, us, vs, 1, dims=DIMS, backend=backend)
    after = torch.autograd.grad([y.sum() for y in first], weights)
    assert all(map(torch.equal, alone, after))


@pytest.mark.parametrize("n", [0, 1])
def test_a_weight_of_zeros_stays_finite(backend, n):
    weight = torch.zeros(3, 4, requires_grad=True)
    u, v = F.normalize(torch.randn(3), dim=0), F.normalize(torch.randn(4), dim=0)
    (y,) = spectral_normalize([weight], [u], [v], n, backend=backend)
    assert torch.equal(y, torch.zeros(3, 4))
    (first,) = torch.autograd.grad((y + y**2).sum(), weight, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), weight)
    assert first.isfinite().all()
    assert second.isfinite().all()


def test_nan_is_not_hidden(backend):
    weights, us, vs = drawn()
    weights[1].data[0, 0] = float("nan")
    found = normalize(weights, us, vs, 1, backend=backend)
    assert [y.isnan().all().item() for y in found] == [False, True, False, False, False]
    assert not found[0].isnan().any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_reduced_precision(cpu_backend, dtype):
    weights, us, vs = drawn(dtype)
    found = normalize(weights, us, vs, 1)
    double = [[t.detach().double() for t in given] for given in (weights, us, vs)]
    for got, want in zip(found, normalize(*double, 1), strict=True):
        assert got.dtype == dtype
        assert (got - want).norm() <= 4 * torch.finfo(dtype).eps * want.norm()


def test_autocast_leaves_it_alone(backend):
    weights, us, vs = drawn(torch.float32)
    expected = normalize(weights, us, vs, 1, backend=backend)
    with torch.autocast("cpu", torch.bfloat16):
        found = normalize(weights, us, vs, 1, backend=backend)
    assert all(map(torch.equal, found, expected))


def test_no_weights():
    assert spectral_normalize([], [], []) == []


def test_opcheck(cpu_backend):
    weights, us, vs = drawn()
    dims = [dim % len(shape) for shape, dim in WEIGHTS]
    state = torch.cat([t for pair in zip(us, vs, strict=True) for t in pair])
    for n in (0, 2):
        given = (weights, state, n, dims, 1e-12, cpu_backend)
        torch.library.opcheck(torch.ops.adaconv.spectral_normalize, given)
    _, state = torch.ops.adaconv.spectral_normalize(*given)
    gradients = [w.detach().sin().requires_grad_() for w in weights]
    given = (gradients, weights, state, dims, 1e-12, cpu_backend)
    torch.library.opcheck(torch.ops.adaconv.spectral_normalize_backward, given)


def test_compiles_without_graph_breaks(cpu_backend):
    def step(*weights):
        return [y.sin() for y in spectral_normalize(weights, us, vs, 1, dims=DIMS)]

    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
    results = []
    for function in (step, compiled):
        weights, us, vs = drawn()
        found = function(*weights)
        results.append((found, us, vs, torch.autograd.grad([y.sum() for y in found], weights)))
    torch.testing.assert_close(results[1], results[0])


def test_exports(cpu_backend):
    weights, us, vs = drawn()

    class Module(torch.nn.Module):
        def forward(self, *weights):
            return spectral_normalize(weights, us, vs, 0, dims=DIMS)

    given = tuple(w.detach() for w in weights)
    exported = torch.export.export(Module(), given).module()
    torch.testing.assert_close(exported(*given), Module()(*given))


def arguments(**changes):
    weight, u, v = torch.ones(2, 3, 2), torch.ones(2), torch.ones(6)
    return {"weights": [weight], "us": [u], "vs": [v], **changes}


VALUE = [
    ({"weights": [torch.ones(2)]}, r"weights\[0\] must have 2 dimensions, got shape \(2,\)"),
    ({"weights": [torch.ones(2, 0)]}, r"weights\[0\] must not be empty, got shape \(2, 0\)"),
    ({"us": [torch.ones(3)]}, r"us\[0\] must have shape \(2,\) .* got \(3,\)"),
    ({"vs": [torch.ones(5)]}, r"vs\[0\] must have shape \(6,\) .* got \(5,\)"),
    ({"us": [torch.ones(2, 1)]}, r"us\[0\] must have 1 dimensions, got shape \(2, 1\)"),
    ({"us": []}, r"us must have as many items as weights, 1, got 0"),
    ({"dims": [1]}, r"us\[0\] must have shape \(3,\) \(size of weights\[0\] along dimension 1"),
    ({"dims": [3]}, r"dims\[0\] must be a dimension of weights\[0\], of shape \(2, 3, 2\), got 3"),
    ({"n_power_iterations": -1}, r"n_power_iterations must be an integer of at least 0, got -1"),
    ({"n_power_iterations": 0.5}, r"n_power_iterations must be an integer of at least 0, got 0\.5"),
    ({"vs": [torch.ones(6, device="meta")]}, r"device of weights\[0\], cpu, got meta"),
]

TYPE = [
    ({"us": [torch.ones(2).double()]}, r"us\[0\] must have the dtype of weights\[0\], .*32, got"),
    ({"weights": [[[1.0]]]}, r"weights\[0\] must be a tensor, got list"),
    ({"weights": [torch.ones(2, 3, 2).long()]}, r"weights\[0\] must be float32, .* got .*int64"),
]


@pytest.mark.parametrize(("changes", "message"), VALUE)
def test_value_error(changes, message):
    with pytest.raises(ValueError, match=message):
        spectral_normalize(**arguments(**changes))


@pytest.mark.parametrize(("changes", "message"), TYPE)
def test_type_error(changes, message):
    with pytest.raises(TypeError, match=message):
        spectral_normalize(**arguments(**changes))
