"""Adaptive convolution: values, gradients of every order, layouts, integration with PyTorch."""

import pytest
import torch
import torch.nn.functional as F
from adaptive_conv_cases import Case, random_case, results
from conv_contract import gradient_of, normal

import adaconv
import adaconv.cpu as cpu
from adaconv import adaptive_conv2d
from adaconv.ops import adaptive_conv_double
from adaconv.reference.adaptive_conv import enlarge

ADAGAN = Case(2, 32, 16, (16, 16), (3, 3), 32, options={"padding": 1})


def test_equals_the_definition(backend):
    case = random_case(3)
    x, d, P, q, b = case.tensors(normal(0))
    weights = torch.einsum("ocuvk,nkij->nocuvij", P, d)
    weights = weights if q is None else weights + q[..., None, None]
    weights = F.leaky_relu(weights, case.options["negative_slope"])
    (ph, pw), (sh, sw) = case.options["padding"], case.options["stride"]
    (dh, dw), (oh, ow) = case.options["dilation"], case.output_size()
    factor = case.options["upsample"]
    padded = F.pad(x.repeat_interleave(factor, 2).repeat_interleave(factor, 3), (pw, pw, ph, ph))
    expected = torch.zeros(*weights.shape[:2], oh, ow, dtype=x.dtype) if b is None else b.clone()
    for o in range(weights.shape[1]):
        first = o // case.outputs * case.channels
        for c in range(case.channels):
            for u in range(weights.shape[3]):
                for v in range(weights.shape[4]):
                    taps = padded[:, first + c, u * dh :, v * dw :][:, ::sh, ::sw][:, :oh, :ow]
                    expected[:, o] += weights[:, o, c, u, v] * taps
    torch.testing.assert_close(case.call((x, d, P, q, b), backend), expected)


@pytest.mark.parametrize(("precision", "allowed"), [("high", 2**-14), ("medium", 2**-7)])
def test_reduced_precision_only_where_asked_for(cpu_backend, precision, allowed):
    """As for PyTorch's own products; where it is no faster, float32 stays what it is."""
    # Without a ReLU, whose flips near 0 outweigh the rounding.
    case = Case(**{**ADAGAN.__dict__, "options": {"padding": 1, "negative_slope": 1.0}})
    tensors = case.tensors(normal(6, 0.3))
    exact = results(case, tensors, gradient_of, "reference")
    single = [t.float() for t in tensors]
    errors = {}
    for chosen in ("highest", precision):
        torch.set_float32_matmul_precision(chosen)
        try:
            found = results(case, single, gradient_of, cpu_backend)
        finally:
            torch.set_float32_matmul_precision("highest")
        errors[chosen] = [
            (got - want).norm() / want.norm() for got, want in zip(found, exact, strict=True)
        ]
    assert max(errors["highest"]) < 1e-6
    assert max(errors[precision]) < allowed
    if cpu.variant() == "amx":
        assert errors[precision][0] > 1e-6


def test_precision_may_change_before_the_backward_pass(cpu_backend):
    tensors = [t.float() for t in ADAGAN.tensors(normal(7))]
    expected = results(ADAGAN, tensors, gradient_of, cpu_backend)
    given = [t.requires_grad_() for t in tensors]
    y = ADAGAN.call(given, cpu_backend)
    torch.set_float32_matmul_precision("medium")
    try:
        found = (y, *torch.autograd.grad(y, given, gradient_of(y)))
    finally:
        torch.set_float32_matmul_precision("highest")
    for got, want in zip(found, expected, strict=True):
        torch.testing.assert_close(got, want, rtol=0, atol=0)


@pytest.mark.parametrize(("slope", "upsample"), [(0.0, 1), (0.3, 1), (0.0, 2), (0.3, 3)])
@pytest.mark.parametrize("chunk", [1 << 20, 100], ids=["whole", "chunked"])
def test_gradients_of_both_orders(backend, slope, upsample, chunk, monkeypatch):
    monkeypatch.setattr(adaptive_conv_double, "CHUNK_VALUES", chunk)
    case = Case(
        1, 2, 2, (5, 3) if upsample == 1 else (2, 1), (3, 2), 2, groups=2,
        options={
            "stride": (2, 1), "padding": 1, "dilation": (1, 2), "negative_slope": slope,
            "upsample": upsample,
        },
    )  # fmt: skip
    tensors = [t.requires_grad_() for t in case.tensors(normal(3))]
    assert torch.autograd.gradcheck(lambda *t: case.call(t, backend), tensors)
    assert torch.autograd.gradgradcheck(lambda *t: case.call(t, backend), tensors)


@pytest.mark.parametrize("kernel_size", [(3, 3), (2, 4), (1, 5)])
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(("dilation", "upsample"), [(2, 1), (1, 2)])
def test_padding_by_name(backend, kernel_size, padding, dilation, upsample):
    x = torch.randn(1, 2, 8, 9).double().requires_grad_()
    large = x.repeat_interleave(upsample, 2).repeat_interleave(upsample, 3)
    weight = torch.rand(3, 2, *kernel_size).double()
    options = {"padding": padding, "dilation": dilation}
    expected = F.conv2d(large, weight, **options)
    d = torch.ones(1, 1, *expected.shape[2:]).double()
    options.update(upsample=upsample, backend=backend)
    y = adaptive_conv2d(x, d, weight[..., None], **options)
    torch.testing.assert_close(y, expected)
    gradients = [
        torch.autograd.grad(t.square().sum(), x, create_graph=True)[0] for t in (y, expected)
    ]
    torch.testing.assert_close(*gradients)
    seconds = [torch.autograd.grad(g.square().sum(), x)[0] for g in gradients]
    torch.testing.assert_close(*seconds)


@pytest.mark.parametrize("factor", [1, 2, 7, 41])
def test_enlarge_repeats_pixels(factor):
    x = torch.arange(12.0).view(1, 2, 2, 3)
    expected = x.repeat_interleave(factor, 2).repeat_interleave(factor, 3)
    assert torch.equal(enlarge(x, factor), expected)
    last = enlarge(x.to(memory_format=torch.channels_last), factor)
    assert torch.equal(last, expected)
    assert last.is_contiguous(memory_format=torch.channels_last)


def test_nan_is_not_hidden(backend):
    tensors = ADAGAN.tensors(normal(13))
    tensors[1][0, 0, 4, 4] = float("nan")
    y = ADAGAN.call(tensors, backend)
    assert y[0, :, 4, 4].isnan().all()
    assert y.isnan().sum() == y.shape[1]


@pytest.mark.parametrize(("with_q", "upsample"), [(True, 1), (False, 2)])
def test_opcheck(cpu_backend, with_q, upsample):
    options = {"stride": (2, 1), "padding": (1, 0), "dilation": (1, 2), "negative_slope": 0.1}
    options["upsample"] = upsample
    case = Case(1, 2, 2, (5, 6), (2, 3), 3, 2, with_q, with_q, options)
    tensors = [None if t is None else t.requires_grad_() for t in case.tensors(normal(20))]
    pairs = [case.options[name] for name in ("stride", "padding", "dilation")]
    options = (*pairs, case.groups, case.options["negative_slope"], upsample)
    forward, backward = (
        torch.ops.adaconv.adaptive_conv2d,
        torch.ops.adaconv.adaptive_conv2d_backward,
    )
    torch.library.opcheck(forward, (*tensors, *options, True, cpu_backend))
    torch.library.opcheck(forward, (*tensors, *options, False, cpu_backend))
    y, signs = forward(*tensors, *options, True, cpu_backend)
    given = (gradient_of(y), *tensors[:4], signs, *options, [True] * 4, cpu_backend)
    torch.library.opcheck(backward, given)


def test_gradients_without_saved_signs(cpu_backend):
    """The raw operator, called without saving the bits, still differentiates."""
    tensors = [t.requires_grad_() for t in ADAGAN.tensors(normal(14))]
    options = ([1, 1], [1, 1], [1, 1], 1, 0.0, 1)
    y, _ = torch.ops.adaconv.adaptive_conv2d(*tensors, *options, False, cpu_backend)
    got = torch.autograd.grad(y, tensors, gradient_of(y))
    expected = results(ADAGAN, tensors, gradient_of, cpu_backend)[1:]
    assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))


MANY_ROUNDS = Case(4, 120, 40, (12, 12), (3, 3), 24, options={"padding": 1, "negative_slope": 0.25})
MANY_GROUPS = Case(9, 5, 3, (31, 31), (5, 5), 4, groups=40, options={"padding": 2})
FEW_PIXELS = Case(1, 128, 64, (8, 8), (3, 3), 128, options={"padding": 1})


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("case", [MANY_ROUNDS, MANY_GROUPS, FEW_PIXELS], ids=lambda case: case.size)
def test_equal_calls_give_equal_bits(cpu_backend, case, dtype):
    tensors = [None if t is None else t.to(dtype) for t in case.tensors(normal(25))]
    first = results(case, tensors, gradient_of, cpu_backend)
    for _ in range(3):
        again = results(case, tensors, gradient_of, cpu_backend)
        assert all(torch.equal(a, b) for a, b in zip(again, first, strict=True))


@pytest.mark.parametrize(
    "case",
    [*map(random_case, range(8)), MANY_ROUNDS, MANY_GROUPS, FEW_PIXELS],
    ids=lambda case: case.size,
)
def test_recomputing_gives_the_same_bits(cpu_backend, case):
    tensors = [None if t is None else t.float() for t in case.tensors(normal(21))]
    expected = results(case, tensors, gradient_of, cpu_backend, memory="mask")
    got = results(case, tensors, gradient_of, cpu_backend, memory="recompute")
    assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))


def test_recomputing_saves_no_bits(cpu_backend):
    tensors = [t.requires_grad_() for t in ADAGAN.tensors(normal(22))]

    def saved(memory):
        y = ADAGAN.call(tensors, cpu_backend, memory=memory)
        return [t.numel() for t in y.grad_fn.saved_tensors if t.dtype == torch.uint8]

    assert saved("mask")[0] >= 2 * 16 * 16 * tensors[2][..., 0].numel() / 8
    assert saved("recompute") == [0]


def test_default_backend_is_the_fastest_available():
    reasons = adaconv.backends()
    assert list(reasons) == ["cpu", "triton", "cuda", "reference"]
    assert reasons["reference"] is None
