"""The Triton kernels against the reference, bit for bit; see ``triton_contract.py``."""

import adaconv_kernels.adaptive_separable as launches
import pytest
import torch
from adaptive_separable_cases import OUTPUTS, SMALL, Case, results
from triton_contract import (
    calls,
    check_equal,
    check_errors,
    check_noticed,
    check_units,
    integers,
    on,
    plant,
)

from adaconv import adaptive_separable_conv2d

pytestmark = pytest.mark.usefixtures("poisoned", "triton_device")

#: Faults of the kernels, each of which must be noticed: (what stands there, what is to stand).
FAULTS = {
    "taps": ("for tap in range(TAPS)", "for tap in range(TAPS - 1)"),
    "border": ("reads = (top >= 0)", "reads = (top >= 1)"),
    "phases": ("step // U % U", "step % U"),
    "channels": ("step // TAPS * BLOCK_C", "0"),
    "tap of P": ("P_rows = (c * TAPS + tap)", "P_rows = (c * TAPS)"),
    "sum of gq": ("total_q += tl.sum", "total_q = tl.sum"),
    "blocks of features": ("once = (c < outputs) &", "once = (c < outputs - 1) &"),
}


def check(device, index, dtype=torch.float32, memory="mask"):
    case = SMALL[index]
    tensors = case.tensors(integers(index, 1))

    def gy_of(y):
        return integers(index + 1, 1)(*y.shape).to(y)

    expected = results(case, tensors, gy_of, "reference")
    given = on(device, dtype, tensors)
    found = results(case, given, gy_of, "triton", memory=memory)
    if device == "cpu" or dtype == torch.float32:
        check_equal(found, expected)
    else:  # the product of gu and x, two sums, is a factor on the tensor cores
        check_units(found, expected, 2, 1.0)


@pytest.mark.parametrize(("index", "dtype"), calls(len(SMALL)))
def test_integers_are_exact(triton_device, index, dtype):
    check(triton_device, index, dtype, ("mask", "recompute")[index % 3 == 0])


@pytest.mark.parametrize("slope", [0.0, 0.2])
def test_error_is_that_of_pytorch(triton_device, slope):
    case = Case(2, 16, 8, (6, 6), features=32, options={"padding": 1, "negative_slope": slope})
    check_errors(case, results, triton_device)


def test_strides_and_memory_formats(triton_device):
    case = Case(2, 4, 3, (6, 5), options={"padding": 1})
    tensors = on(triton_device, torch.float32, case.tensors(integers(5, 1)))
    expected = results(case, tensors, torch.ones_like, "triton")
    last = torch.channels_last
    strided = [t.contiguous(memory_format=last) if t.dim() == 4 and i < 2 else t
               for i, t in enumerate(tensors)]  # fmt: skip
    strided[2] = tensors[2].repeat_interleave(2, 3)[..., ::2]
    strided[4] = tensors[4].transpose(0, 1).contiguous().transpose(0, 1)
    found = results(case, strided, torch.ones_like, "triton")
    assert found[0].is_contiguous(memory_format=last)
    for got, want in zip(found, expected, strict=True):
        torch.testing.assert_close(got, want, rtol=0, atol=0)


def test_empty_batch(triton_device):
    x, P1, P2 = torch.empty(0, 2, 4, 4), torch.ones(2, 3, 3, 2), torch.ones(3, 2, 2)
    x, P1, P2 = (t.to(triton_device).requires_grad_() for t in (x, P1, P2))
    y = adaptive_separable_conv2d(x, x, P1, None, P2, padding=1, backend="triton")
    y.sum().backward()
    assert y.shape == (0, 3, 4, 4)
    assert not P1.grad.any()
    assert not P2.grad.any()


@pytest.mark.parametrize("wanted", range(6))
def test_one_gradient_alone(triton_device, wanted):
    case = Case(1, 2, 3, (4, 4), options={"padding": 1})
    tensors = on(triton_device, torch.float32, case.tensors(integers(6, 1)))
    expected = results(case, tensors, torch.ones_like, "triton")[1 + wanted]
    tensors[wanted].requires_grad_()
    (got,) = torch.autograd.grad(case.call(tensors, "triton").sum(), tensors[wanted])
    torch.testing.assert_close(got, expected, rtol=0, atol=0)


def test_second_derivatives(triton_device):
    case = Case(1, 2, 2, (3, 3), (2, 2), 2, options={"padding": 1, "negative_slope": 0.5})
    found = []
    for backend in ("triton", "reference"):
        tensors = on(triton_device, torch.float32, case.tensors(integers(8, 1)))
        leaves = [t.requires_grad_() for t in tensors]
        y = case.call(leaves, backend)
        first = torch.autograd.grad(y.square().sum(), leaves, create_graph=True)
        found.append(torch.autograd.grad(sum(g.square().sum() for g in first), leaves[:6]))
    for got, want in zip(*found, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5 * want.abs().max().item())


def test_operators_are_registered_well(triton_device):
    case = Case(1, 2, 3, (4, 4), options={"padding": 1})
    tensors = on(triton_device, torch.float32, case.tensors(integers(6, 1)))
    options = (1, 1), (1, 1), (1, 1), 1, 0.0, 1, True, "triton"
    leaves = [t.requires_grad_() for t in tensors]
    torch.library.opcheck(torch.ops.adaconv.adaptive_separable_conv2d, (*leaves, *options))


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_noticed(triton_device, monkeypatch, tmp_path, fault):
    plant(monkeypatch, tmp_path, launches, *FAULTS[fault])
    check_noticed([lambda i=i: check(triton_device, i) for i in reversed(range(len(SMALL)))])


@pytest.mark.parametrize("output", OUTPUTS)
def test_an_error_of_one_percent_is_noticed(triton_device, perturb, output):
    perturb(launches, output)
    check_noticed([lambda i=i: check(triton_device, i) for i in range(4)])
