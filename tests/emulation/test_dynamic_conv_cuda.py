"""The CUDA kernels through their operator, emulated: whole numbers come out bit for bit."""

import sys
from pathlib import Path

import pytest
import torch
from emulator import DTYPES, SANITIZERS, check_counts, some

sys.path.insert(0, str(Path(__file__).parents[1] / "ops"))
from dynamic_conv_cases import SMALL, Case, results
from triton_contract import check_integers, integers

pytestmark = pytest.mark.usefixtures("emulated", "poisoned")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("index", some(range(len(SMALL))))
def test_equals_the_reference(index, dtype):
    check_integers(SMALL[index], results, index, "cuda", "cpu", dtype)


def test_any_strides():
    case = Case(2, 4, 3, (6, 5), options={"padding": 1})
    x, w, b = tensors = [t.float() for t in case.tensors(integers(5))]
    last = torch.channels_last
    strided = [x.contiguous(memory_format=last), w.movedim(1, 6).contiguous().movedim(6, 1), b]
    expected, found = (results(case, ts, torch.ones_like, "cuda") for ts in (tensors, strided))
    assert found[0].is_contiguous(memory_format=last)
    assert all(map(torch.equal, found, expected))


@pytest.mark.skipif(bool(SANITIZERS), reason="nothing is counted under sanitizers")
@pytest.mark.parametrize("dtype", DTYPES)
def test_memory_is_used_well(emulated, dtype):
    case = Case(1, 8, 8, (8, 16), (1, 1))
    tensors = [t.to(dtype) for t in case.tensors(integers(5))]
    check_counts(emulated.counted(lambda: results(case, tensors, torch.ones_like, "cuda")))
