"""Separable adaptive convolution: values, gradients of every order, integration with PyTorch."""

import pytest
import torch
import torch.nn.functional as F
from adaptive_separable_cases import Case, random_case, results
from conv_contract import gradient_of, normal

from adaconv import adaptive_conv2d
from adaconv.cpu import adaptive_separable as kernels

NAMES = ["y", "x", "d", "P1", "q1", "P2", "q2", "b"]
LAYER = Case(2, 32, 16, (16, 16), (3, 3), 32, options={"padding": 1})


def test_equals_the_definition(backend):
    options = {"stride": (2, 1), "padding": (1, 2), "dilation": (1, 2), "negative_slope": 0.5}
    case = Case(2, 4, 6, (4, 3), (3, 2), 5, groups=2, options={**options, "upsample": 2})
    x, d, P1, q1, P2, q2, b = case.tensors(normal(0))
    oh, ow = case.output_size()
    large = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
    padded = F.pad(large, (2, 2, 1, 1))
    first = F.leaky_relu(torch.einsum("cuvk,nkij->ncuvij", P1, d) + q1[..., None, None], 0.5)
    second = F.leaky_relu(torch.einsum("ock,nkij->nocij", P2, d) + q2[..., None, None], 0.5)
    u = torch.zeros(2, 4, oh, ow, dtype=x.dtype)
    for row in range(3):
        for column in range(2):
            taps = padded[:, :, row:, 2 * column :][:, :, ::2][:, :, :oh, :ow]
            u += first[:, :, row, column] * taps
    expected = b.clone()
    for o in range(6):
        group = slice(0, 2) if o < 3 else slice(2, 4)
        expected[:, o] += (second[:, o] * u[:, group]).sum(1)
    torch.testing.assert_close(case.call((x, d, P1, q1, P2, q2, b), backend), expected)


@pytest.mark.parametrize(("precision", "allowed"), [("high", 2**-14), ("medium", 2**-7)])
def test_reduced_precision_where_asked_for(cpu_backend, precision, allowed):
    case = Case(**{**LAYER.__dict__, "options": {"padding": 1, "negative_slope": 1.0}})
    tensors = case.tensors(normal(6, 0.3))
    exact = results(case, tensors, gradient_of, "reference")
    torch.set_float32_matmul_precision(precision)
    try:
        found = results(case, [t.float() for t in tensors], gradient_of, cpu_backend)
    finally:
        torch.set_float32_matmul_precision("highest")
    for name, got, want in zip(NAMES, found, exact, strict=True):
        assert (got - want).norm() / want.norm() < allowed, name


def test_precision_may_change_before_the_backward_pass(cpu_backend):
    tensors = [t.float() for t in LAYER.tensors(normal(7))]
    expected = results(LAYER, tensors, gradient_of, cpu_backend)
    given = [t.requires_grad_() for t in tensors]
    y = LAYER.call(given, cpu_backend)
    torch.set_float32_matmul_precision("medium")
    try:
        found = (y, *torch.autograd.grad(y, given, gradient_of(y)))
    finally:
        torch.set_float32_matmul_precision("highest")
    for got, want in zip(found, expected, strict=True):
        torch.testing.assert_close(got, want, rtol=0, atol=0)


@pytest.mark.parametrize(("slope", "upsample"), [(0.0, 1), (0.3, 2)])
@pytest.mark.parametrize("biased", [True, False])
def test_gradients_of_both_orders(backend, slope, upsample, biased):
    options = {"stride": (2, 1), "padding": 1, "dilation": (1, 2), "negative_slope": slope}
    case = Case(
        1, 2, 2, (5, 3) if upsample == 1 else (2, 1), (3, 2), 2, 2, biased, biased, biased,
        options={**options, "upsample": upsample},
    )  # fmt: skip
    given = [None if t is None else t.requires_grad_() for t in case.tensors(normal(3))]
    assert torch.autograd.gradcheck(lambda *t: case.call(t, backend), given)
    assert torch.autograd.gradgradcheck(lambda *t: case.call(t, backend), given)


def test_is_two_adaptive_convolutions(backend):
    case = Case(3, 4, 6, groups=2, options={"padding": "same", "negative_slope": 0.1})
    x, d, P1, q1, P2, q2, b = case.tensors(normal(11))
    slope = {"negative_slope": 0.1}
    u = adaptive_conv2d(x, d, P1[:, None], q1[:, None], padding="same", groups=4, **slope)
    P, q = P2[:, :, None, None], q2[:, :, None, None]
    expected = adaptive_conv2d(u, d, P, q, b, groups=2, **slope)
    torch.testing.assert_close(case.call((x, d, P1, q1, P2, q2, b), backend), expected)


@pytest.mark.parametrize("case", [*map(random_case, range(8)), LAYER], ids=lambda case: case.size)
def test_recomputing_gives_the_same_bits(cpu_backend, case):
    tensors = [None if t is None else t.float() for t in case.tensors(normal(13))]
    expected = results(case, tensors, gradient_of, cpu_backend, memory="mask")
    got = results(case, tensors, gradient_of, cpu_backend, memory="recompute")
    assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))


def test_recomputing_saves_nothing(cpu_backend):
    tensors = [t.requires_grad_() for t in LAYER.tensors(normal(14))]

    def saved(memory):
        y = LAYER.call(tensors, cpu_backend, memory=memory)
        given = {t.data_ptr() for t in tensors}
        kept = y.grad_fn.saved_tensors
        return sum(t.nbytes for t in kept if t is not None and t.data_ptr() not in given)

    pixels, u_bytes = 2 * 16 * 16, 8 * 32
    bits = tensors[4][..., 0].numel() / 8
    # The bits of a vector take whole bytes: a quarter of one is in use where it has two numbers.
    assert pixels * (u_bytes + bits) <= saved("mask") <= 1.2 * pixels * (u_bytes + 4 * bits)
    assert saved("recompute") == 0


@pytest.mark.parametrize("pixels", [1, 7, 100])
def test_pieces_of_any_size(cpu_backend, pixels, monkeypatch):
    case = Case(4, 3, 5, (6, 7), options={"padding": 1, "stride": (2, 1)})
    tensors = case.tensors(normal(15))
    expected = results(case, tensors, gradient_of, cpu_backend)
    monkeypatch.setattr(kernels, "PIECE_PIXELS", pixels)
    for got, want in zip(results(case, tensors, gradient_of, cpu_backend), expected, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)


def test_nan_is_not_hidden(backend):
    tensors = LAYER.tensors(normal(17))
    tensors[1][0, 0, 4, 4] = float("nan")
    y = LAYER.call(tensors, backend)
    assert y[0, :, 4, 4].isnan().all()
    assert y.isnan().sum() == y.shape[1]


@pytest.mark.parametrize("biased", [True, False])
def test_opcheck(cpu_backend, biased):
    pairs = {"stride": (2, 1), "padding": (1, 0), "dilation": (1, 2)}
    case = Case(1, 4, 2, (5, 6), (2, 3), 3, 2, biased, biased, biased, options=pairs)
    tensors = [None if t is None else t.requires_grad_() for t in case.tensors(normal(20))]
    options = (*pairs.values(), 2, 0.1, 1)
    forward = torch.ops.adaconv.adaptive_separable_conv2d
    backward = torch.ops.adaconv.adaptive_separable_conv2d_backward
    torch.library.opcheck(forward, (*tensors, *options, True, cpu_backend))
    torch.library.opcheck(forward, (*tensors, *options, False, cpu_backend))
    y, u, signs = forward(*tensors, *options, True, cpu_backend)
    given = (gradient_of(y), *tensors[:6], u, signs, *options, [True] * 6, cpu_backend)
    torch.library.opcheck(backward, given)
