"""The CUDA kernels through their operator, emulated: whole numbers come out bit for bit."""

import sys
from pathlib import Path

import pytest
import torch
from emulator import DTYPES, SANITIZERS, check_counts

from adaconv import adaptive_separable_conv2d
from adaconv.cuda import adaptive_separable

sys.path.insert(0, str(Path(__file__).parents[1] / "ops"))
from adaptive_separable_cases import OUTPUTS, SMALL, Case, results
from conv_contract import normal
from triton_contract import check_equal, check_noticed, integers

pytestmark = pytest.mark.usefixtures("emulated", "poisoned")

#: Tiles of pixels, channels and features, and what is left of each.
CASES = [
    *SMALL,
    Case(1, 33, 2, (5, 5), (2, 2), 65, options={"padding": 1}),
    Case(1, 64, 3, (8, 9), (1, 2), 8, with_q1=False, options={"negative_slope": 0.5}),
    Case(3, 8, 17, (7, 7), (3, 1), 136, options={"stride": (1, 2), "padding": 1}),
    Case(1, 2, 2, (2, 2), (1, 1), 270, options={"upsample": 2}),
    Case(2, 3, 2, (16, 17), (1, 1), 4),
]
CALLS = [(index, dtype) for index in range(len(CASES)) for dtype in DTYPES]
values = pytest.mark.skipif(bool(SANITIZERS), reason="the accesses are those of other tests")


def check(index, dtype=torch.float32, memory="mask"):
    """Compare all results; numbers are small, so that halves have those between the stages."""
    case = CASES[index]
    tensors = case.tensors(integers(index, 1))

    def gy_of(y):
        return integers(index + 1, 1)(*y.shape).to(y)

    expected = results(case, tensors, gy_of, "reference")
    given = [None if t is None else t.to(dtype) for t in tensors]
    check_equal(results(case, given, gy_of, "cuda", memory=memory), expected)


@pytest.mark.parametrize(("index", "dtype"), CALLS[::20] if SANITIZERS else CALLS)
def test_equals_the_reference(index, dtype):
    check(index, dtype, ("mask", "recompute")[index % 2])


def errors(dtype, slope):
    """Return of each result the error, that of PyTorch in the same dtype, and the norm."""
    case = Case(2, 16, 8, (6, 6), features=32, options={"padding": 1, "negative_slope": slope})
    tensors = [t.to(dtype) for t in case.tensors(normal(1, 0.3))]

    def gy_of(y):
        return normal(2)(*y.shape).to(dtype).to(y)

    exact = results(case, [t.double() for t in tensors], gy_of, "reference")
    pairs = (results(case, tensors, gy_of, backend) for backend in ("cuda", "reference"))
    return [
        ((ours - want).norm(), (theirs - want).norm(), want.norm())
        for ours, theirs, want in zip(*pairs, exact, strict=True)
    ]


@values
@pytest.mark.parametrize("dtype", DTYPES)
def test_error_is_that_of_pytorch(dtype):
    found = errors(dtype, 0.2)
    assert all(error <= 2 * usual + 1e-7 * norm for error, usual, norm in found)


@values
def test_tf32_where_it_may_be():
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        # With another slope, other signs of weights near 0 would be other gradients.
        found = errors(torch.float32, 1.0)
    finally:
        torch.set_float32_matmul_precision(before)
    assert all(error <= 2**-9 * norm for error, _, norm in found)
    assert all(error > 8 * usual for error, usual, _ in found[:-1])  # that of b is gy


def test_any_strides():
    case = Case(2, 4, 3, (4, 3), options={"padding": 1})
    tensors = [t.float() for t in case.tensors(integers(5, 1))]
    x, d, P1, q1, P2, q2, b = tensors
    last = torch.channels_last
    strided = [
        x.contiguous(memory_format=last), d.movedim(2, 1).contiguous().movedim(1, 2),
        P1.repeat_interleave(2, 3)[..., ::2], q1, P2.mT.contiguous().mT, q2,
        b.contiguous(memory_format=last),
    ]  # fmt: skip
    expected, found = (results(case, ts, torch.ones_like, "cuda") for ts in (tensors, strided))
    assert found[0].is_contiguous(memory_format=last)
    assert all(map(torch.equal, found, expected))


@values
@pytest.mark.parametrize("wanted", range(6))
def test_one_gradient_alone(wanted):
    case = Case(1, 2, 3, (4, 4), options={"padding": 1})
    tensors = [t.float() for t in case.tensors(integers(6, 1))]
    expected = results(case, tensors, torch.ones_like, "cuda")[1 + wanted]
    tensors[wanted].requires_grad_()
    (found,) = torch.autograd.grad(case.call(tensors, "cuda").sum(), tensors[wanted])
    assert torch.equal(found, expected)


def test_empty_batch():
    x, P1, P2 = torch.empty(0, 2, 4, 4), torch.ones(2, 3, 3, 2), torch.ones(3, 2, 2)
    P1, P2 = (t.requires_grad_() for t in (P1, P2))
    y = adaptive_separable_conv2d(x, x, P1, None, P2, padding=1, backend="cuda")
    y.sum().backward()
    assert y.shape == (0, 3, 4, 4)
    assert not P1.grad.any()
    assert not P2.grad.any()


@values
def test_what_is_not_finite_stays_where_it_is():
    """No pixel meets the weights of a tap that does not read it; those that do, hide nothing."""
    case = Case(1, 2, 2, (3, 3), (3, 3), 2, options={"padding": 1})
    tensors = [t.float() for t in case.tensors(integers(7, 1))]
    clean = results(case, tensors, torch.ones_like, "cuda")[1]
    tensors[3][0, 0, 0] = torch.inf  # q1 of the tap that no pixel of the last row or column has
    gx = results(case, tensors, torch.ones_like, "cuda")[1]
    assert not gx[0, 0, :2, :2].isfinite().any()
    assert torch.equal(gx[0, 0, 2], clean[0, 0, 2])
    assert torch.equal(gx[0, 0, :, 2], clean[0, 0, :, 2])
    assert torch.equal(gx[0, 1], clean[0, 1])


def test_what_does_not_fit_is_refused():
    x, P1 = torch.ones(1, 2, 3, 3), torch.ones(3, 1, 1, 2)
    stage = adaptive_separable._FirstStage(x, x, P1, None, ((1, 1), (0, 0), (1, 1), 0.0, 1))
    results_of_it = torch.ones(1, 3, 3, 3), stage.allocate_signs()
    for run in (
        lambda: stage.between(*results_of_it),
        lambda: stage.input(results_of_it[0], x),
        lambda: stage.gradients("features", *results_of_it, x, x),
        lambda: stage.gradients("weights", *results_of_it, P1, None),
    ):
        with pytest.raises(RuntimeError, match=r"adaptive_separable_.*: P must be contiguous"):
            run()


@values
def test_second_derivatives():
    case = Case(1, 2, 2, (3, 3), (2, 2), 2, options={"padding": 1, "negative_slope": 0.5})
    found = []
    for backend, dtype in (("cuda", torch.float32), ("reference", torch.float64)):
        leaves = [t.to(dtype).requires_grad_() for t in case.tensors(integers(8, 1))]
        y = case.call(leaves, backend)
        first = torch.autograd.grad(y.square().sum(), leaves, create_graph=True)
        found.append(torch.autograd.grad(sum(g.square().sum() for g in first), leaves[:6]))
    check_equal(*found)


@values
@pytest.mark.parametrize("output", OUTPUTS)
def test_an_error_of_one_percent_is_noticed(perturb, output):
    perturb(adaptive_separable, output)
    check_noticed([lambda i=i: check(i) for i in range(4)])


@pytest.mark.skipif(bool(SANITIZERS), reason="nothing is counted under sanitizers")
@pytest.mark.parametrize("dtype", DTYPES)
def test_memory_is_used_well(emulated, dtype):
    """In the forward pass, and in each kernel of the backward pass."""
    case = Case(1, 32, 32, (8, 8), features=64, options={"padding": 1})
    tensors = [t.to(dtype) for t in case.tensors(integers(9, 1))]
    counts = emulated.counted(lambda: results(case, tensors, torch.ones_like, "cuda"))
    check_counts(counts)
