"""The CUDA kernels through their operator, emulated: whole numbers come out bit for bit."""

import sys
from pathlib import Path

import pytest
import torch
from emulator import DTYPES, SANITIZERS, check_counts

from adaconv.cuda import local_adaptive

sys.path.insert(0, str(Path(__file__).parents[1] / "ops"))
from conv_contract import normal
from local_adaptive_cases import OUTPUTS, Case, depthwise, random_case, results
from local_adaptive_contract import (
    check_case,
    check_chunks,
    check_empty_batch,
    check_one_gradient,
    check_strides,
    check_what_is_not_finite,
)
from triton_contract import check_errors, check_noticed, integers

#: What is of values alone.
values = pytest.mark.skipif(bool(SANITIZERS), reason="the accesses are those of other tests")
pytestmark = pytest.mark.usefixtures("emulated", "poisoned")

#: All that the operator takes; tiles of slots, weights, features and points, and what is left.
CASES = [random_case(seed) for seed in range(1, 24)] + [
    Case(1, size=(1, 1), kernel_size=(1, 1)),
    Case(1, size=(1, 1), pitch=1, neighbours=9, options={"padding": 1}),
    Case(1, 8, 8, (8, 8), features=16, options={"padding": 1}),
    Case(2, 8, 16, (8, 4), features=24, neighbours=9, options={"padding": 1}),
    Case(1, 70, 2, (2, 3), (1, 2), 4),
    Case(1, 2, 70, (3, 2), (2, 1), with_q=False),
    Case(1, 64, 64, (3, 3), (1, 1), 8, options={"negative_slope": -0.5}),
    Case(1, 2, 3, (2, 3), (2, 2), 140, options={"negative_slope": -1.0}),
    Case(9, 1, 1, (8, 9), (1, 1), 3, pitch=1),
    Case(1, 1, 2, (11, 12), (2, 2), neighbours=9, pitch=8),
    Case(1, 1, 3, (2, 1), options={"upsample": 3, "padding": 1}),
    Case(3, 3, 4, (5, 6), features=17, groups=2, pitch=3, options={"stride": 2, "padding": 2}),
    depthwise(16, batch=1, size=(8, 8), features=16, options={"padding": 1}),
    depthwise(5, pitch=3, neighbours=9, options={"negative_slope": 0.5, "padding": (2, 1)}),
    depthwise(3, kernel_size=(2, 6), with_q=False, options={"dilation": (2, 1), "upsample": 2}),
    depthwise(70, batch=1, size=(3, 2), kernel_size=(1, 1), with_b=False),
]
#: All in float32, and each in one of the halves.
CALLS = [
    (index, dtype)
    for index in range(len(CASES))
    for dtype in (torch.float32, (torch.float16, torch.bfloat16)[index % 2])
]


def check(index, dtype=torch.float32):
    check_case(CASES[index], index, "cpu", "cuda", dtype, exact=False)


@pytest.mark.parametrize(("index", "dtype"), CALLS[::13] if SANITIZERS else CALLS)
def test_equals_the_reference(emulated, monkeypatch, index, dtype):
    """With sums that are cut into runs or not, and products of tf32 or not."""
    monkeypatch.setattr(emulated, "processors", lambda device: 1 + 15 * (index % 2))
    precision = "high" if index % 3 == 0 else "highest"
    monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: precision)
    check(index, dtype)


@pytest.mark.parametrize("size", [1, 1500])
def test_chunks_add_up(monkeypatch, size):
    check_chunks(monkeypatch, local_adaptive, size, "cpu", "cuda")


@values
@pytest.mark.parametrize("slope", [0.2, -0.5])
def test_error_is_that_of_pytorch(slope):
    case = Case(1, 16, 8, (8, 8), features=40, options={"padding": 1, "negative_slope": slope})
    check_errors(case, results, "cpu", "cuda")


@values
def test_tf32_only_where_it_is_allowed(monkeypatch):
    case = Case(1, 8, 4, (4, 4), features=20, options={"negative_slope": 1.0})
    tensors = case.tensors(normal(0))
    exact = results(case, tensors, torch.ones_like, "reference")
    monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: "high")
    found = results(case, [t.float() for t in tensors], torch.ones_like, "cuda")
    for got, want in zip(found[:-1], exact[:-1], strict=True):
        assert 2**-14 * want.norm() < (got - want).norm() < 2**-8 * want.norm()


@values
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_stays_where_it_is(value):
    check_what_is_not_finite(value, "cpu", "cuda")


def test_any_strides():
    check_strides("cpu", "cuda")


def test_empty_batch():
    check_empty_batch("cpu", "cuda")


@values
@pytest.mark.parametrize("wanted", range(6))
def test_one_gradient_alone(wanted):
    check_one_gradient(wanted, "cpu", "cuda")


@values
@pytest.mark.parametrize("output", OUTPUTS)
def test_an_error_of_one_percent_is_noticed(perturb, output):
    perturb(local_adaptive, output)
    check_noticed([lambda: check(25)])


@pytest.mark.skipif(bool(SANITIZERS), reason="nothing is counted under sanitizers")
@pytest.mark.parametrize("dtype", DTYPES)
def test_memory_is_used_well(emulated, dtype):
    case = Case(1, 16, 16, (8, 8), features=32, options={"padding": 1})
    tensors = [t.to(dtype) for t in case.tensors(integers(5))]
    check_counts(emulated.counted(lambda: results(case, tensors, torch.ones_like, "cuda")))
