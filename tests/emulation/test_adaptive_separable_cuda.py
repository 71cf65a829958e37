"""The CUDA kernels through their operator, emulated: whole numbers come out bit for bit."""

import sys
from pathlib import Path

import pytest
import torch
from emulator import DTYPES, SANITIZERS, check_counts, some

from adaconv.cuda import adaptive_separable

sys.path.insert(0, str(Path(__file__).parents[1] / "ops"))
from adaptive_separable_cases import OUTPUTS, SMALL, Case, results
from conv_contract import normal
from triton_contract import check_equal, check_noticed, integers

pytestmark = pytest.mark.usefixtures("emulated", "poisoned")

#: Tiles of pixels, channels and features, and what is left of each.
CASES = [
    *SMALL,
    Case(2, 33, 2, (6, 6), (2, 2), 65, options={"padding": 1}),
    Case(1, 64, 3, (8, 9), (1, 2), 8, with_q1=False, options={"negative_slope": 0.5}),
    Case(3, 8, 17, (7, 7), (3, 1), 136, options={"stride": (1, 2), "padding": 1}),
    Case(1, 2, 2, (2, 2), (1, 1), 270, options={"upsample": 2}),
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


@pytest.mark.parametrize(("index", "dtype"), some(CALLS))
def test_equals_the_reference(index, dtype):
    check(index, dtype, ("mask", "recompute")[index % 2])
