"""Dynamic convolution: values, gradients of every order, layouts, integration with PyTorch."""

import pytest
import torch
import torch.nn.functional as F
from conv_contract import gradient_of, normal
from dynamic_conv_cases import Case, results

from adaconv import dynamic_conv2d

PLAIN = Case(2, 9, 5, (16, 17), options={"padding": 1})
DEPTHWISE = Case(2, 1, 12, (9, 11), (3, 5), groups=6, options={"stride": (2, 1), "padding": 2})
SHARED = Case(2, 2, 3, (12, 9), groups=12, options={"padding": 1, "dilation": (1, 2)})
OPTIONS = ("stride", "padding", "dilation")
KINDS = pytest.mark.parametrize(
    "case", [PLAIN, DEPTHWISE, SHARED], ids=["plain", "depthwise", "shared"]
)


@pytest.mark.parametrize(("groups", "filters"), [(1, 3), (3, 3), (3, 6), (6, 1), (6, 2)])
def test_equals_the_definition(backend, groups, filters):
    case = Case(2, 2, filters, (8, 9), (3, 2), groups)
    case.options = {"stride": (2, 1), "padding": (1, 2), "dilation": (1, 2)}
    x, w, b = case.tensors(normal(0))
    padded = F.pad(x, (2, 2, 1, 1))
    expected = b.clone()
    (oh, ow), outputs = case.output_size(), b.shape[1]
    for o in range(outputs):
        group, s = o * groups // outputs, o * filters // outputs
        for c in range(2):
            for u in range(3):
                for v in range(2):
                    taps = padded[:, group * 2 + c, u::2, 2 * v :][:, :oh, :ow]
                    expected[:, o] += w[:, s, c, u, v] * taps
    torch.testing.assert_close(case.call((x, w, b), backend), expected)


@pytest.mark.parametrize("groups", [1, 2, 6])
def test_equal_filters_make_a_convolution(backend, groups):
    x, weight = normal(1)(2, 6, 8, 9), normal(2)(12, 6 // groups, 3, 3)
    w = weight[None, ..., None, None].expand(2, 12, 6 // groups, 3, 3, 8, 9)
    y = dynamic_conv2d(x, w, padding="same", groups=groups, backend=backend)
    torch.testing.assert_close(y, F.conv2d(x, weight, padding="same", groups=groups))


@pytest.mark.parametrize("filters", [1, 2, 4])
def test_shared_filters_are_repeated_ones(backend, filters):
    x, w = normal(3)(2, 8, 9, 9), normal(4)(2, filters, 1, 3, 3, 9, 9)
    shared = dynamic_conv2d(x, w, padding=1, groups=8, backend=backend)
    every = w.repeat_interleave(8 // filters, 1)
    torch.testing.assert_close(
        shared, dynamic_conv2d(x, every, padding=1, groups=8, backend=backend)
    )


SMALL = [
    Case(1, 2, 2, (4, 3), (2, 2), options={"padding": 1}),
    Case(2, 1, 4, (5, 4), (3, 2), groups=2, options={"stride": 2, "dilation": (1, 2)}),
    Case(1, 1, 1, (3, 4), (2, 3), groups=3, options={"padding": (0, 1)}),
    Case(1, 2, 2, (4, 4), (3, 1), groups=4, options={"stride": (1, 2)}),
]


@pytest.mark.parametrize("index", range(len(SMALL)))
def test_gradients_of_both_orders(backend, index):
    case = SMALL[index]
    tensors = [t.requires_grad_() for t in case.tensors(normal(7))]
    assert torch.autograd.gradcheck(lambda *t: case.call(t, backend), tensors)
    assert torch.autograd.gradgradcheck(lambda *t: case.call(t, backend), tensors)


@pytest.mark.parametrize("index", range(len(SMALL)))
def test_third_order(backend, index):
    case = SMALL[index]
    tensors = [t.requires_grad_() for t in case.tensors(normal(8))]

    def gradients(*leaves):
        y = case.call(leaves, backend)
        return torch.autograd.grad((y**3).sum(), leaves, create_graph=True)

    assert torch.autograd.gradgradcheck(gradients, tensors, gradient_of_each(tensors))


def gradient_of_each(tensors):
    return [gradient_of(t).requires_grad_() for t in tensors]


@KINDS
def test_same_bits_every_time_on_any_number_of_threads(cpu_backend, case):
    tensors = [t.float() for t in case.tensors(normal(15))]
    first = results(case, tensors, gradient_of, cpu_backend)
    threads = torch.get_num_threads()
    try:
        for count in (1, 2, 3, threads):
            torch.set_num_threads(count)
            again = results(case, tensors, gradient_of, cpu_backend)
            assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    finally:
        torch.set_num_threads(threads)


@KINDS
def test_nan_is_not_hidden(backend, case):
    x, w, b = case.tensors(normal(17))
    w[0, 0, 0, 0, 0, 0, 0] = float("nan")  # its pixel is on the padding
    y = case.call((x, w, b), backend)
    assert y[0, 0, 0, 0].isnan()
    assert y.isnan().sum() == max(case.groups // case.filters, 1)


@KINDS
def test_opcheck(cpu_backend, case):
    x, w, b = (t.requires_grad_() for t in case.tensors(normal(18)))
    pairs = (case.options.get(name, (1, 1)) for name in OPTIONS)
    options = [[p, p] if isinstance(p, int) else list(p) for p in pairs]
    options = (*options, case.groups, cpu_backend)
    ops = torch.ops.adaconv
    torch.library.opcheck(ops.dynamic_conv2d, (x, w, b, *options))
    torch.library.opcheck(ops.dynamic_conv2d, (x, w, None, *options))
    g = gradient_of(b).requires_grad_()
    torch.library.opcheck(ops.dynamic_conv2d_input, (g, w, x.shape[2:], *options))
    torch.library.opcheck(ops.dynamic_conv2d_weight, (g, x, w.shape[1], w.shape[3:5], *options))
