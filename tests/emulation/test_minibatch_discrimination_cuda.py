"""The CUDA kernels through their operator, emulated, against the reference in fp64."""

import sys
from pathlib import Path

import pytest
import torch
from emulator import DTYPES, SANITIZERS, check_counts, some

sys.path.insert(0, str(Path(__file__).parents[1] / "ops"))
from minibatch_discrimination_cases import SHAPES, drawn, results
from triton_contract import check_units

pytestmark = pytest.mark.usefixtures("emulated", "poisoned")

#: Tiles of rows, of the second set, of measures and of dimensions, and what is left of each.
EDGES = [
    *(shape for shape in SHAPES if shape[0] < 200),
    (31, None, 1, 1), (32, None, 4, 2), (33, None, 5, 3), (40, 9, 1, 4), (7, 8, 3, 5),
    (2, 65, 1, 7), (4, 3, 2, 8), (3, 5, 1, 9), (5, None, 2, 17), (3, 7, 1, 32), (6, 3, 2, 33),
    (3, None, 1, 40), (2, 3, 1, 64), (3, None, 2, 65), (9, 1, 5, 2), (15, 16, 3, 8),
    (16, 15, 4, 8), (17, 17, 7, 6), (64, 64, 2, 1), (1, 33, 8, 3), (33, 1, 9, 2), (12, None, 6, 8),
    (20, None, 2, 31), (16, 32, 1, 12), (5, 48, 3, 2), (48, 5, 3, 2), (8, None, 13, 4),
    (10, None, 3, 70), (2, 2, 2, 2), (35, 34, 2, 10), (63, None, 1, 6), (4, 17, 12, 3),
]  # fmt: skip
CALLS = [
    (shape, exclude_self)
    for shape in EDGES
    for exclude_self in ((True, False) if shape[1] is None else (True,))
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "exclude_self"), some(CALLS))
def test_equals_the_reference(shape, exclude_self, dtype):
    sets = [t.detach().to(dtype).requires_grad_() for t in drawn(shape)]
    exact = [t.detach().double().requires_grad_() for t in sets]
    expected = results(exact, "reference", exclude_self=exclude_self)
    found = results(sets, "cuda", exclude_self=exclude_self)
    assert all(t.dtype == dtype for t in found)
    # Gradients of few samples cancel.
    least = expected[0].numel() ** 0.5
    check_units(found, expected, 16 if dtype == torch.float32 else 1, least)


def test_any_strides():
    sets = [t.detach().float() for t in drawn((40, 30, 3, 5))]
    strange = [t.transpose(0, 2).contiguous().transpose(0, 2) for t in sets]
    dense, strided = (
        results([t.requires_grad_() for t in given], "cuda") for given in (sets, strange)
    )
    assert all(map(torch.equal, dense, strided))


def test_nan_is_not_hidden():
    M = drawn((5, None, 3, 2))[0].detach().float()
    M[2, 1, 0] = float("nan")
    for result in results([M.requires_grad_()], "cuda"):
        assert result[:, 1].isnan().all()
        assert not result[:, [0, 2]].isnan().any()


@pytest.mark.skipif(bool(SANITIZERS), reason="nothing is counted under sanitizers")
def test_memory_is_used_well(emulated):
    sets = [t.detach().float().requires_grad_() for t in drawn((64, None, 32, 5))]
    check_counts(emulated.counted(lambda: results(sets, "cuda")))
