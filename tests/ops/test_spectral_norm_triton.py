"""The Triton kernels against the reference in fp64; see ``triton_contract.py``."""

import adaconv_kernels.spectral_norm as launches
import pytest
import torch
from spectral_norm_cases import NETWORKS, OUTPUTS, WEIGHTS, check_network, drawn, results
from triton_contract import DTYPES, calls, check_noticed, on, plant

from adaconv import spectral_normalize

pytestmark = pytest.mark.usefixtures("poisoned", "triton_device")

#: Faults of the kernels, each of which must be noticed: (what stands there, what is to stand).
FAULTS = {
    "rows": ("mask=r < height, other=0.0)", "mask=r < height - 1, other=0.0)"),
    "another matrix": ("tl.program_id(1) == i, values[i]", "tl.program_id(1) >= i, values[0]"),
    "blocks of columns": ("range(0, width, BLOCK)", "range(0, width - 1, BLOCK)"),
    "parts": ("mask=part < blocks", "mask=part < blocks - 1"),
    "rows of a block": ("row + column // width", "row + column // (width + 1)"),
    "vanishing sigma": ("tl.abs(sigma) < EPS", "tl.abs(sigma) < 0"),
}


def check(device, weights, n, dtype=torch.float32):
    check_network("triton", device, weights, n, dtype)


@pytest.mark.parametrize(("index", "dtype"), calls(len(NETWORKS)))
def test_equals_the_reference(triton_device, index, dtype):
    check(triton_device, NETWORKS[index], 1, dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("n", [0, 3])
def test_any_number_of_steps(triton_device, n, dtype):
    check(triton_device, WEIGHTS, n, dtype)


def test_zeros_stay_zeros(triton_device):
    tensors, us, vs = (on(triton_device, torch.float32, part) for part in drawn())
    check_zeros(tensors, us, vs)


def check_zeros(tensors, us, vs):
    weights = [torch.zeros_like(t).requires_grad_() for t in tensors]
    found = results(WEIGHTS, weights, us, vs, 1, backend="triton")
    assert not any(t.any() for t in found[:5])
    for gradient in found[-5:]:
        upstream = torch.sin(torch.arange(gradient.numel()).double()).view(gradient.shape)
        torch.testing.assert_close(gradient.cpu(), (upstream / 1e-12).float())


def test_nan_is_not_hidden(triton_device):
    tensors, us, vs = (on(triton_device, torch.float32, part) for part in drawn())
    tensors[1][0, 0] = float("nan")
    found = spectral_normalize(tensors, us, vs, dims=[dim for _, dim in WEIGHTS], backend="triton")
    assert [bool(t.isnan().all()) for t in found] == [False, True, False, False, False]
    assert not any(t.isnan().any() for i, t in enumerate(found) if i != 1)


def test_operators_are_registered_well(triton_device):
    tensors, us, vs = (on(triton_device, torch.float32, part) for part in drawn())
    state = torch.cat([us[1], vs[1]])
    arguments = ([tensors[1].requires_grad_()], state, 1, [0], 1e-12, "triton")
    torch.library.opcheck(torch.ops.adaconv.spectral_normalize, arguments)


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_noticed(triton_device, monkeypatch, tmp_path, fault):
    plant(monkeypatch, tmp_path, launches, *FAULTS[fault])
    checks = [lambda weights=weights: check(triton_device, weights, 1) for weights in NETWORKS]
    parts = [on(triton_device, torch.float32, part) for part in drawn()]
    check_noticed([lambda: check_zeros(*parts), *checks])


@pytest.mark.parametrize("output", OUTPUTS)
def test_an_error_of_one_percent_is_noticed(triton_device, perturb, output):
    perturb(launches, output)
    check_noticed([lambda: check(triton_device, WEIGHTS, 1)])
