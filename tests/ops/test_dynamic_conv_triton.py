"""The Triton kernels against the reference, bit for bit; see ``triton_contract.py``."""

import adaconv_kernels.dynamic_conv as launches
import pytest
import torch
from conv_contract import check_compiles
from dynamic_conv_cases import OUTPUTS, SMALL, Case, results
from triton_contract import calls, check_integers, check_noticed, integers, on, plant

from adaconv import dynamic_conv2d

pytestmark = pytest.mark.usefixtures("poisoned", "triton_device")

#: Faults of the kernels, each of which must be noticed: (what stands there, what is to stand).
FAULTS = {
    "border of x": ("(ih >= 0) &", "(ih >= -1) &"),
    "border of y": ("reads = (top >= 0)", "reads = (top >= 1)"),
    "last taps": ("live = exists & (e < summed)", "live = exists"),
    "stride": ("& (top % geometry[2] == 0)", ""),
    "rows": ("(of_group < kept), other", "(of_group < kept - 1), other"),
    "groups": ("for r in range(shared)", "for r in range(1)"),
    "runs": ("tl.program_id(2) * run, (", "tl.program_id(2) * run + 1, ("),
}


def check(device, index, dtype=torch.float32):
    check_integers(SMALL[index], results, index, "triton", device, dtype)


@pytest.mark.parametrize(("index", "dtype"), calls(len(SMALL)))
def test_integers_are_exact(triton_device, index, dtype):
    check(triton_device, index, dtype)


def test_strides_and_memory_formats(triton_device):
    case = Case(2, 4, 3, (6, 5), options={"padding": 1})
    x, w, b = tensors = on(triton_device, torch.float32, case.tensors(integers(5)))
    expected = results(case, tensors, torch.ones_like, "triton")
    last = torch.channels_last
    strided = [
        x.contiguous(memory_format=last), w.movedim(1, 6).contiguous().movedim(6, 1),
        b[:, :, :, :1].expand_as(b),
    ]  # fmt: skip
    found = results(case, strided, torch.ones_like, "triton")
    assert found[0].is_contiguous(memory_format=last)
    expected[0] += strided[2] - b
    for got, want in zip(found, expected, strict=True):
        torch.testing.assert_close(got, want, rtol=0, atol=0)


def test_empty_batch(triton_device):
    x = torch.empty(0, 2, 4, 4, device=triton_device, requires_grad=True)
    w = torch.empty(0, 3, 2, 3, 3, 4, 4, device=triton_device, requires_grad=True)
    y = dynamic_conv2d(x, w, padding=1, backend="triton")
    y.sum().backward()
    assert y.shape == (0, 3, 4, 4)
    assert (x.grad.shape, w.grad.shape) == (x.shape, w.shape)


def test_second_derivatives(triton_device):
    case = Case(1, 2, 2, (4, 3), (2, 2), options={"padding": 1})
    found = []
    for backend in ("triton", "reference"):
        tensors = on(triton_device, torch.float32, case.tensors(integers(8)))
        leaves = [t.requires_grad_() for t in tensors]
        y = case.call(leaves, backend)
        first = torch.autograd.grad(y.square().sum(), leaves, create_graph=True)
        found.append(torch.autograd.grad(sum(g.square().sum() for g in first), leaves))
    torch.testing.assert_close(*found)


def test_compiles_whole(triton_device):
    def operator(*tensors, **options):
        return dynamic_conv2d(*tensors, backend="triton", **options)

    class OnDevice(Case):
        def tensors(self, make):
            return on(triton_device, torch.float32, super().tensors(make))

    case = OnDevice(1, 2, 3, (4, 4), options={"padding": 1})
    check_compiles(operator, [case], lambda: integers(7), torch.ones_like, False)


def test_operators_are_registered_well(triton_device):
    case = Case(1, 2, 3, (4, 4), options={"padding": 1})
    x, w, b = on(triton_device, torch.float32, case.tensors(integers(6)))
    options = (1, 1), (1, 1), (1, 1), 1, "triton"
    torch.library.opcheck(torch.ops.adaconv.dynamic_conv2d, (x, w, b, *options))


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_noticed(triton_device, monkeypatch, tmp_path, fault):
    plant(monkeypatch, tmp_path, launches, *FAULTS[fault])
    check_noticed(
        [lambda i=i: check(triton_device, i) for i in (*range(4), *reversed(range(len(SMALL))))]
    )


@pytest.mark.parametrize("output", OUTPUTS)
def test_an_error_of_one_percent_is_noticed(triton_device, perturb, output):
    perturb(launches, output)
    check_noticed([lambda i=i: check(triton_device, i) for i in range(4)])
