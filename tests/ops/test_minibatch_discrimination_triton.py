"""The Triton kernels against the reference in fp64; see ``triton_contract.py``."""

import adaconv_kernels.minibatch_discrimination as launches
import pytest
import torch
from minibatch_discrimination_cases import OUTPUTS, SHAPES, drawn, results
from triton_contract import calls, check_noticed, check_units, on, plant

from adaconv import BackendError, minibatch_discrimination
from adaconv.reference import minibatch_discrimination as reference

pytestmark = pytest.mark.usefixtures("poisoned", "triton_device")

#: Tiles of rows, of the second set and of dimensions, and what is left of each. The interpreter
#: takes a millisecond for a few thousand pairs.
EDGES = [
    *(shape for shape in SHAPES if shape[0] * (shape[1] or shape[0]) < 500),
    (31, None, 1, 1), (32, None, 1, 2), (33, None, 1, 3), (40, 9, 1, 4), (7, 8, 3, 5),
    (2, 65, 1, 8), (4, 3, 2, 9), (3, 5, 1, 16), (5, None, 2, 17), (3, 7, 1, 32),
    (6, 3, 2, 33), (3, None, 1, 40), (2, 3, 1, 64), (3, None, 2, 65), (9, 1, 5, 2),
]  # fmt: skip

CALLS = [
    (shape, exclude_self)
    for shape in EDGES
    for exclude_self in ((True, False) if shape[1] is None else (True,))
]

#: Faults of the kernels, each of which must be noticed: (what stands there, what is to stand).
FAULTS = {
    "rows": ("& (rows < count)", "& (rows < count - 1)"),
    "pairs": ("counts = (j < others)[:, None]", "counts = (j <= others)[:, None]"),
    "itself": ("i[None, :] + skip)", "i[None, :] + skip + 1)"),
    "dimensions": ("range(BLOCK_C, size, BLOCK_C)", "range(BLOCK_C, size - 1, BLOCK_C)"),
    "chunks": ("c = tl.program_id(2) * BLOCK_C +", "c ="),
    "equal values": ("difference == 0, 0.0", "difference == 0, signed"),
    "sums": ("tl.sum(tl.abs(first), 0)", "tl.max(tl.abs(first), 0)"),
}


def check(device, shape, exclude_self, dtype=torch.float32):
    sets = [t.requires_grad_() for t in on(device, dtype, drawn(shape))]
    exact = [t.detach().cpu().double().requires_grad_() for t in sets]
    expected = results(exact, "reference", exclude_self=exclude_self)
    found = results(sets, "triton", exclude_self=exclude_self)
    assert all(t.dtype == dtype for t in found)
    # Gradients of few samples cancel.
    least = expected[0].numel() ** 0.5
    check_units(found, expected, 16 if dtype == torch.float32 else 1, least)


@pytest.mark.parametrize(("index", "dtype"), calls(len(CALLS)))
def test_equals_the_reference(triton_device, index, dtype):
    check(triton_device, *CALLS[index], dtype)


def test_rows_of_another_rank(triton_device):
    """Where the set is a part of the other, its own rows lie at a distance."""
    M, Z = drawn((5, 20, 2, 3))
    sets = [t.float() for t in (M, torch.cat([Z[:8], M, Z[8:]]))]
    expected = _of_rank("reference", *(t.double() for t in sets))
    check_units(_of_rank("triton", *on(triton_device, torch.float32, sets)), expected, 16)


def _of_rank(backend, M, Z):
    M, Z = M.detach().requires_grad_(), Z.detach().requires_grad_()
    if backend == "reference":
        o = reference.minibatch_discrimination(M, Z, 8)
    else:
        o = torch.ops.adaconv.minibatch_discrimination(M, Z, 8, backend)
    return [o.detach(), *torch.autograd.grad(o.square().sum(), (M, Z))]


def test_any_strides(triton_device):
    sets = on(triton_device, torch.float32, drawn((40, 30, 3, 5)))
    strange = [t.transpose(0, 2).contiguous().transpose(0, 2) for t in sets]
    dense, strided = (
        results([t.requires_grad_() for t in given], "triton") for given in (sets, strange)
    )
    assert all(map(torch.equal, dense, strided))


def test_nan_is_not_hidden(triton_device):
    (M,) = on(triton_device, torch.float32, drawn((5, None, 3, 2)))
    M[2, 1, 0] = float("nan")
    o, gradient = results([M.requires_grad_()], "triton")
    for result in (o, gradient):
        assert result[:, 1].isnan().all()
        assert not result[:, [0, 2]].isnan().any()


def test_operators_are_registered_well(triton_device):
    sets = [t.requires_grad_() for t in on(triton_device, torch.float32, drawn((5, 7, 3, 2)))]
    operators = torch.ops.adaconv
    torch.library.opcheck(operators.minibatch_discrimination, (*sets, None, "triton"))


def test_other_dtypes_are_refused(triton_device):
    with pytest.raises(BackendError, match="triton: computes in float32, bfloat16 and float16"):
        minibatch_discrimination(*drawn((5, None, 3, 2)), backend="triton")


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_noticed(triton_device, monkeypatch, tmp_path, fault):
    plant(monkeypatch, tmp_path, launches, *FAULTS[fault])
    shapes = [(5, 7, 3, 2), (33, None, 1, 3), (3, 5, 1, 33), (3, None, 1, 65)]
    calls = [(shape, own) for shape in shapes for own in (True, False)]
    check_noticed([lambda call=call: check(triton_device, *call) for call in calls])


@pytest.mark.parametrize("output", OUTPUTS)
def test_an_error_of_one_percent_is_noticed(triton_device, perturb, output):
    perturb(launches, output)
    check_noticed([lambda: check(triton_device, (5, 7, 3, 2), True)])
