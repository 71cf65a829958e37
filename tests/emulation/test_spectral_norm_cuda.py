"""The CUDA kernels through their operator, emulated, against the reference in fp64."""

import sys
from pathlib import Path

import pytest
import torch
from emulator import DTYPES, SANITIZERS, check_counts, some

from adaconv import spectral_normalize
from adaconv.cuda import spectral_norm

sys.path.insert(0, str(Path(__file__).parents[1] / "ops"))
from spectral_norm_cases import NETWORKS, WEIGHTS, check_network, drawn, results

pytestmark = pytest.mark.usefixtures("emulated", "poisoned")

#: Around the warps that share columns, the rows of a block, its values, and the parts of sums.
EDGES = [
    [((7, 31), 0), ((8, 32), 0), ((9, 33), 0), ((16, 64), 0), ((17, 65), 0)],
    [((63, 32), 0), ((64, 33), 0), ((65, 5), 0), ((255, 8), 0), ((257, 8), 0)],
    [((1, 2048), 0), ((2, 1024), 0), ((683, 3), 0), ((3, 683), 0), ((2049, 1), 0)],
    [((3, 2, 5, 5), 0), ((2, 3, 5, 5), 1), ((4, 9, 1, 1), 1), ((9, 4, 1, 1), 0), ((6, 6), 1)],
    [((2, 2), 0), ((2, 3), 0), ((3, 2), 0), ((3, 3), 0), ((1, 9), 0), ((9, 1), 0)],
]  # fmt: skip


@pytest.fixture(autouse=True)
def few_parts(monkeypatch):
    """Let few blocks add up the products: each takes its time here."""
    monkeypatch.setattr(spectral_norm, "PARTS", 3)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("weights", some([*NETWORKS, *EDGES]), ids=lambda w: str(w[0][0]))
def test_equals_the_reference(weights, dtype):
    check_network("cuda", "cpu", weights, 1, dtype)


def test_more_matrices_than_a_launch_takes():
    weights = [((1 + i % 5, 1 + i % 7), 0) for i in range(67)]
    check_network("cuda", "cpu", weights, 1, torch.float32)


@pytest.mark.parametrize("n", [0, 3])
def test_any_number_of_steps(n):
    check_network("cuda", "cpu", WEIGHTS, n, torch.float32)


def test_zeros_stay_zeros():
    tensors, us, vs = ([t.detach().float() for t in part] for part in drawn())
    weights = [torch.zeros_like(t).requires_grad_() for t in tensors]
    found = results(WEIGHTS, weights, us, vs, 1, backend="cuda")
    assert not any(t.any() for t in found[:5])
    for gradient in found[-5:]:
        upstream = torch.sin(torch.arange(gradient.numel()).double()).view(gradient.shape)
        torch.testing.assert_close(gradient, (upstream / 1e-12).float())


def test_nan_is_not_hidden():
    tensors, us, vs = ([t.detach().float() for t in part] for part in drawn())
    tensors[1][0, 0] = float("nan")
    found = spectral_normalize(tensors, us, vs, dims=[dim for _, dim in WEIGHTS], backend="cuda")
    assert [bool(t.isnan().all()) for t in found] == [False, True, False, False, False]


@pytest.mark.skipif(bool(SANITIZERS), reason="nothing is counted under sanitizers")
@pytest.mark.parametrize("dtype", DTYPES)
def test_memory_is_used_well(emulated, dtype):
    weights = [((64, 256), 0)]
    parts = [
        [t.detach().to(dtype).requires_grad_() for t in part] for part in drawn(weights=weights)
    ]
    us, vs = ([t.detach() for t in part] for part in parts[1:])
    check_counts(emulated.counted(lambda: results(weights, parts[0], us, vs, 1, backend="cuda")))
