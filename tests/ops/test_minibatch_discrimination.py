"""Minibatch discrimination: gradients of every order, bad values, integration with PyTorch."""

import pytest
import torch
from minibatch_discrimination_cases import drawn, gradient_of, results
from processes import run

from adaconv import minibatch_discrimination
from adaconv.reference import minibatch_discrimination as reference

SELF, TWO = (6, None, 3, 2), (5, 7, 3, 2)


@pytest.mark.parametrize("exclude_self", [True, False])
def test_equals_the_definition(backend, exclude_self):
    (M,) = drawn(SELF)
    expected = torch.zeros(6, 3, dtype=M.dtype)
    for i in range(6):
        for j in range(6):
            if i != j or not exclude_self:
                expected[i] += torch.exp(-(M[i] - M[j]).abs().sum(1))
    got = minibatch_discrimination(M, exclude_self=exclude_self, backend=backend)
    torch.testing.assert_close(got, expected)


def test_second_set_equals_the_definition(backend):
    M, other = drawn(TWO)
    expected = sum(torch.exp(-(M - z).abs().sum(2)) for z in other)
    torch.testing.assert_close(minibatch_discrimination(M, other, backend=backend), expected)


def test_one_sample_is_close_to_nobody(backend):
    M = torch.randn(1, 3, 2, requires_grad=True)
    o, gradient = results([M], backend)
    assert torch.equal(o, torch.zeros(1, 3))
    assert torch.equal(gradient, torch.zeros_like(M))
    o = minibatch_discrimination(M, exclude_self=False, backend=backend)
    assert torch.equal(o, torch.ones(1, 3))


@pytest.mark.parametrize("chunk", [1 << 20, 20], ids=["whole", "chunked"])
@pytest.mark.parametrize(("shape", "exclude_self"), [(SELF, True), (SELF, False), (TWO, True)])
def test_gradients_of_both_orders(backend, shape, exclude_self, chunk, monkeypatch):
    monkeypatch.setattr(reference, "CHUNK_VALUES", chunk)
    sets = drawn(shape)

    def function(*sets):
        return minibatch_discrimination(*sets, exclude_self=exclude_self, backend=backend)

    assert torch.autograd.gradcheck(function, sets)
    assert torch.autograd.gradgradcheck(function, sets)


def test_nan_is_not_hidden(backend):
    (M,) = drawn(SELF)
    M.data[2, 1, 0] = float("nan")
    for exclude_self in (True, False):
        o = minibatch_discrimination(M, exclude_self=exclude_self, backend=backend)
        assert o[:, 1].isnan().all()
        assert not o[:, [0, 2]].isnan().any()
        gradient = torch.autograd.grad(o, M, torch.ones_like(o))[0]
        assert gradient[:, 1].isnan().all()
        assert not gradient[:, [0, 2]].isnan().any()
    alone = torch.full((1, 1, 1), float("nan"))
    assert minibatch_discrimination(alone, exclude_self=False, backend=backend).isnan()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_rounded_once(cpu_backend, dtype):
    sets = drawn((40, 30, 4, 5), dtype)
    double = [t.detach().double().requires_grad_() for t in sets]
    o = minibatch_discrimination(*double)
    upstream = gradient_of(o).to(dtype).double()
    exact = [o, *torch.autograd.grad(o, double, upstream)]
    for got, want in zip(results(sets, cpu_backend), exact, strict=True):
        assert got.dtype == dtype
        assert (got - want).norm() <= torch.finfo(dtype).eps / 2 * want.norm()


def test_same_bits_on_every_thread_count(cpu_backend):
    sets = drawn((70, None, 9, 5), torch.float32)
    threads = torch.get_num_threads()
    try:
        outputs = []
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            outputs.append(results(sets, cpu_backend))
    finally:
        torch.set_num_threads(threads)
    for other in outputs[1:]:
        assert all(map(torch.equal, other, outputs[0]))


MEMORY = """
import re, torch
from adaconv import minibatch_discrimination
torch.set_num_threads(2)
M, g = torch.randn(512, 40, 5, requires_grad=True), torch.randn(512, 40)

def status(key):
    return int(re.search(key + r":\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024

def step(M, g):
    torch.autograd.grad(minibatch_discrimination(M), M, g)

step(M[:2], g[:2])
open("/proc/self/clear_refs", "w").write("5")
before = status("VmRSS")
step(M, g)
print((status("VmHWM") - before) / (512 * 512 * 40 * 5 * 4))
"""


def test_pairs_never_exist(cpu_backend):
    """Peak memory of a step: at most 2 % of one array over all pairs."""
    done = run("-c", MEMORY, MALLOC_TRIM_THRESHOLD_="0")
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) <= 0.02


@pytest.mark.parametrize(("shape", "skip"), [(SELF, 0), (SELF, None), (TWO, 1), (TWO, None)])
def test_opcheck(cpu_backend, shape, skip):
    sets = drawn(shape)
    given = (*sets, None)[:2]
    torch.library.opcheck(torch.ops.adaconv.minibatch_discrimination, (*given, skip, cpu_backend))
    g = gradient_of(torch.zeros(shape[0], shape[2], dtype=torch.float64)).requires_grad_()
    torch.library.opcheck(
        torch.ops.adaconv.minibatch_discrimination_backward, (g, *given, skip, cpu_backend)
    )


@pytest.mark.parametrize("dynamic", [False, True])
def test_compiles_without_graph_breaks(cpu_backend, dynamic):
    def step(*sets):
        return minibatch_discrimination(*sets).sin()

    compiled = torch.compile(step, fullgraph=True, backend="aot_eager", dynamic=dynamic)
    for shape in (SELF, (8, None, 3, 2), TWO):
        sets = drawn(shape)
        y, expected = compiled(*sets), step(*sets)
        torch.testing.assert_close(y, expected)
        got = torch.autograd.grad(y.sum(), sets)
        torch.testing.assert_close(got, torch.autograd.grad(expected.sum(), sets))


def test_exports(cpu_backend):
    class Module(torch.nn.Module):
        def forward(self, *sets):
            return minibatch_discrimination(*sets)

    sets = tuple(t.detach() for t in drawn(TWO))
    exported = torch.export.export(Module(), sets).module()
    torch.testing.assert_close(exported(*sets), Module()(*sets))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_widens(backend, dtype):
    (M,) = drawn(SELF, dtype)
    with torch.autocast("cpu", dtype):
        o = minibatch_discrimination(M, backend=backend)
    assert o.dtype == torch.float32
    torch.testing.assert_close(o, minibatch_discrimination(M.float(), backend=backend))
    double = drawn(SELF)[0]
    with torch.autocast("cpu", dtype):
        assert minibatch_discrimination(double, backend=backend).dtype == torch.float64


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ([torch.ones(2, 3)], ValueError, r"M must have 3 dimensions, got shape \(2, 3\)"),
        ([torch.ones(2, 3, 4).long()], TypeError, "M must be float32, .* got torch.int64"),
        ([torch.ones(2, 3, 0)], ValueError, r"M must have C of at least 1, got shape \(2, 3, 0\)"),
        ([[1.0]], TypeError, "M must be a tensor, got list"),
        (
            [torch.ones(2, 3, 4), torch.ones(5, 3, 5)],
            ValueError,
            r"other must have shape \(5, 3, 4\) .* got \(5, 3, 5\)",
        ),
        (
            [torch.ones(2, 3, 4), torch.ones(5, 3, 4).double()],
            TypeError,
            "other must have the dtype of M, torch.float32, got torch.float64",
        ),
    ],
)
def test_refuses_arguments(given, error, message):
    with pytest.raises(error, match=message):
        minibatch_discrimination(*given)
