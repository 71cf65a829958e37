"""The CUDA kernels, emulated on the host, against the reference in fp64."""

import sys
from pathlib import Path

import pytest
import torch
from emulator import MISSING, SANITIZERS, argument, check_counts, some

from adaconv.reference import minibatch_discrimination as reference

sys.path.insert(0, str(Path(__file__).parents[1] / "ops"))
from minibatch_discrimination_cases import SHAPES, drawn, gradient_of
from triton_contract import check_units

STEM = "minibatch_discrimination"

#: Tiles of rows, of the second set, of measures and of dimensions, and what is left of each.
EDGES = [
    *(shape for shape in SHAPES if shape[2] and shape[0] and shape[1] != 0 and shape[0] < 200),
    (31, None, 1, 1), (32, None, 4, 2), (33, None, 5, 3), (40, 9, 1, 4), (7, 8, 3, 5),
    (2, 65, 1, 7), (4, 3, 2, 8), (3, 5, 1, 9), (5, None, 2, 17), (3, 7, 1, 32), (6, 3, 2, 33),
    (3, None, 1, 40), (2, 3, 1, 64), (3, None, 2, 65), (9, 1, 5, 2), (15, 16, 3, 8),
    (16, 15, 4, 8), (17, 17, 7, 6), (64, 64, 2, 1), (1, 33, 8, 3), (33, 1, 9, 2), (12, None, 6, 8),
    (20, None, 2, 31), (16, 32, 1, 12), (5, 48, 3, 2), (48, 5, 3, 2), (8, None, 13, 4),
    (10, None, 3, 70), (2, 2, 2, 2), (35, 34, 2, 10), (63, None, 1, 6), (4, 17, 12, 3),
]  # fmt: skip
CALLS = [(shape, skip) for shape in EDGES for skip in ((0, None) if shape[1] is None else (None,))]


def results(library, M, Z, skip, g):
    """Return o and the gradients, by the kernels."""
    dtype, skipped, back = (
        M.dtype,
        *(None if s is None else argument(s) for s in (skip, None if skip is None else -skip)),
    )
    B = M if Z is None else Z
    o, gM = M.new_full(M.shape[:2], torch.nan), torch.full_like(M, torch.nan)
    library.call(f"{STEM}_forward", dtype, argument(M), argument(B), skipped, argument(o))
    given = argument(g)
    own = given if Z is None else MISSING
    call = f"{STEM}_backward"
    library.call(call, dtype, argument(M), argument(B), skipped, given, own, argument(gM))
    if Z is None:
        return [o, gM]
    gZ = torch.full_like(Z, torch.nan)
    library.call(call, dtype, argument(Z), argument(M), back, MISSING, given, argument(gZ))
    return [o, gM, gZ]


def check(library, shape, skip, dtype=torch.float32):
    sets = [t.detach().to(dtype) for t in drawn(shape)]
    exact = [t.double().requires_grad_() for t in sets]
    o = reference.minibatch_discrimination(*(*exact, None)[:2], skip)
    g = gradient_of(o).to(dtype)
    expected = [o.detach(), *torch.autograd.grad(o, exact, g.double())]
    found = results(library, *(*sets, None)[:2], skip, g)
    # Gradients of few samples cancel.
    least = expected[0].numel() ** 0.5
    check_units(found, expected, 16 if dtype == torch.float32 else 1, least)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("shape", "skip"), some(CALLS))
def test_equals_the_reference(library, shape, skip, dtype):
    check(library, shape, skip, dtype)


def test_any_strides(library):
    sets = [t.detach().float() for t in drawn((40, 30, 3, 5))]
    strange = [t.transpose(0, 2).contiguous().transpose(0, 2) for t in sets]
    g = torch.ones(40, 3)
    dense, strided = (results(library, *given, None, g) for given in (sets, strange))
    assert all(map(torch.equal, dense, strided))


def test_nan_is_not_hidden(library):
    M = drawn((5, None, 3, 2))[0].detach().float()
    M[2, 1, 0] = float("nan")
    for result in results(library, M, None, 0, torch.ones(5, 3)):
        assert result[:, 1].isnan().all()
        assert not result[:, [0, 2]].isnan().any()


@pytest.mark.skipif(bool(SANITIZERS), reason="nothing is counted under sanitizers")
def test_memory_is_used_well(library):
    (M,) = (t.detach().float() for t in drawn((64, None, 32, 5)))
    check_counts(library.counted(lambda: results(library, M, None, 0, torch.ones(64, 32))))
