"""The Triton kernels against the reference, bit for bit; see ``triton_contract.py``."""

import random

import adaconv_kernels._local_adaptive_chunk as chunk
import adaconv_kernels.local_adaptive as launches
import pytest
import torch
from local_adaptive_cases import OUTPUTS, Case, results
from local_adaptive_contract import (
    check_case,
    check_chunks,
    check_empty_batch,
    check_one_gradient,
    check_strides,
    check_what_is_not_finite,
)
from triton_contract import calls, check_errors, check_noticed, integers, on, plant

from adaconv.nn import LocalAdaConvBlock

pytestmark = pytest.mark.usefixtures("poisoned", "triton_device")

#: Faults, each of which must be noticed: (kernels, what stands there, what is to stand, the case
#: that notices it).
FAULTS = {
    "scatter of P": ("kernels", "weight % DEPTH * TAPS + ", "weight % DEPTH + ", 42),
    "parts of sums": ("kernels", "for part in range(parts)", "for part in range(1)", 41),
    "neighbours": ("kernels", "n, h, w, step), mask", "n, h, w, 0), mask", 42),
    "slopes": ("backward_kernels", "gate(weights > 0, total, SLOPE)", "total", 42),
    "shared pixels": ("backward_kernels", "factor += tl.load", "factor = tl.load", 42),
    "phases": ("backward_kernels", "phase // U", "phase % U", 44),
}


def small_case(seed):
    """Draw what the operator takes, in few pixels."""
    rng = random.Random(seed)
    kernel, dilation, padding = (
        tuple(rng.randint(least, most) for _ in range(2))
        for least, most in ((1, 3), (1, 2), (0, 2))
    )
    spans = [(k - 1) * d + 1 - 2 * p for k, d, p in zip(kernel, dilation, padding, strict=True)]
    factor, groups = rng.choice([1, 1, 1, 1, 2]), rng.choice([1, 1, 1, 1, 2])
    return Case(
        batch=rng.choice([1, 1, 1, 2]),
        channels=rng.choice([1, 2, 3, 5]),
        outputs=rng.choice([1, 2, 3, 7]),
        size=tuple(-(-max(1, span) // factor) + rng.randint(0, 3) for span in spans),
        kernel_size=kernel,
        features=rng.choice([1, 3, 8, 16, 17, 40]),
        groups=groups,
        neighbours=rng.choice([4, 4, 9]),
        pitch=rng.choice([2, 3, 4, 8]) * factor,
        with_q=rng.random() < 0.7,
        with_b=rng.random() < 0.7,
        options={
            "stride": (rng.randint(1, 3), rng.randint(1, 2)),
            "padding": padding,
            "dilation": dilation,
            "negative_slope": rng.choice([0.0, 0.0, 0.5, 1.0, -0.5]),
            "upsample": factor,
        },
    )


CASES = [small_case(seed) for seed in range(34)] + [
    Case(1, size=(1, 1), kernel_size=(1, 1)),
    Case(1, size=(1, 1), pitch=1, neighbours=9, options={"padding": 1}),
    Case(1, 1, 1, size=(2, 2), kernel_size=(1, 1), pitch=1),
    Case(2, 4, 3, size=(8, 4), features=16, options={"padding": 1}),
    Case(1, 2, 3, size=(7, 6), neighbours=9, options={"padding": 1}),
    Case(1, 2, 3, size=(2, 15), features=12, options={"padding": 1}),
    Case(1, 70, 2, size=(2, 3), features=4, kernel_size=(1, 2)),
    Case(1, 2, 70, size=(3, 2), kernel_size=(2, 1)),
    Case(1, 2, 3, size=(2, 3), features=140, kernel_size=(2, 2)),
    Case(1, 1, 1, size=(2, 3), groups=5, pitch=3, options={"padding": 1}),
    Case(1, 1, 3, size=(2, 1), options={"upsample": 3, "padding": 1}),
    Case(1, 1, 2, size=(11, 12), neighbours=9, pitch=8, kernel_size=(2, 2)),
]


def check(device, index, dtype=torch.float32):
    check_case(CASES[index], index, device, "triton", dtype, exact=device == "cpu")


@pytest.mark.parametrize(("index", "dtype"), calls(len(CASES)))
def test_integers_are_exact(triton_device, index, dtype):
    check(triton_device, index, dtype)


@pytest.mark.parametrize("size", [1, 1500])
def test_chunks_add_up(triton_device, monkeypatch, size):
    check_chunks(monkeypatch, launches, size, triton_device, "triton")


@pytest.mark.parametrize("slope", [0.0, 0.2, -0.5])
def test_error_is_that_of_pytorch(triton_device, slope):
    case = Case(1, 16, 8, (8, 8), features=32, options={"padding": 1, "negative_slope": slope})
    check_errors(case, results, triton_device)


@pytest.mark.parametrize("scale", [2.0**-40, 2.0**40])
def test_any_scale(triton_device, scale):
    """Factors are brought into float16's range and back by powers of two."""
    case = Case(1, 3, 4, (4, 5), features=8, with_b=False, options={"padding": 1})
    x, d, P, q, a, _ = case.tensors(integers(3))
    tensors = x, d * scale, P, q * scale, a / scale, None
    expected = results(case, tensors, torch.ones_like, "reference")
    found = results(case, on(triton_device, torch.float32, tensors), torch.ones_like, "triton")
    for got, want in zip(found, expected, strict=True):
        assert (got.cpu() - want).norm() < 1e-6 * want.norm()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_stays_where_it_is(triton_device, value):
    check_what_is_not_finite(value, triton_device, "triton")


def test_strides_and_memory_formats(triton_device):
    check_strides(triton_device, "triton")


def test_empty_batch(triton_device):
    check_empty_batch(triton_device, "triton")


@pytest.mark.parametrize("wanted", range(6))
def test_one_gradient_alone(triton_device, wanted):
    check_one_gradient(wanted, triton_device, "triton")


def test_operators_are_registered_well(triton_device):
    case = Case(1, 2, 3, (4, 4))
    tensors = on(triton_device, torch.float32, case.tensors(integers(6, 1)))
    options = 4, (1, 1), (0, 0), (1, 1), 1, 0.0, 1, "triton"
    leaves = [t.requires_grad_() for t in tensors]
    torch.library.opcheck(torch.ops.adaconv.local_adaptive_conv2d, (*leaves, *options))


@pytest.mark.parametrize("upsample", [1, 2])
def test_a_whole_block(triton_device, upsample):
    torch.manual_seed(0)
    block = LocalAdaConvBlock(4, 3, 3, padding=1, upsample=upsample).to(triton_device)
    leaves = [torch.randn(1, 4, 5, 3, device=triton_device).requires_grad_(), *block.parameters()]
    found = {}
    for backend in ("triton", "reference"):
        block.backend = backend
        y = block(leaves[0])
        found[backend] = [y, *torch.autograd.grad(y.square().sum(), leaves)]
    for got, want in zip(*found.values(), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4 * want.abs().max().item())


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_noticed(triton_device, monkeypatch, tmp_path, fault):
    name, old, new, case = FAULTS[fault]
    plant(monkeypatch, tmp_path, chunk, old, new, name)
    check_noticed([lambda: check(triton_device, case)])


@pytest.mark.parametrize("output", OUTPUTS)
def test_an_error_of_one_percent_is_noticed(triton_device, perturb, output):
    perturb(launches, output)
    check_noticed([lambda: check(triton_device, 42)])
