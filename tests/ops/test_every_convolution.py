"""What every convolution operator promises of rounding, layouts and PyTorch's tools."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import adaptive_conv_cases
import adaptive_separable_cases
import dynamic_conv_cases
import local_adaptive_cases
import pytest
import torch
from conv_contract import check_compiles, gradient_of, normal, results

import adaconv


@dataclass
class Convolution:
    """An operator at a layer of a usual size.

    Attributes:
        function: takes the arguments and ``padding``.
        names: of the arguments.
        case: the layer, with ``padding=1``.
        scale: standard deviation of the arguments, such that y is of the size of 1.
    """

    function: Callable
    names: str
    case: Any
    scale: float = 0.3

    def pictures(self, tensors, first=slice(1)):
        """Return the arguments with the first of a batch where they have one."""
        batched = ("x", "d", "w", "a", "b")
        names = self.names.split()
        return [t[first] if n in batched else t for n, t in zip(names, tensors, strict=True)]


PADDED = {"padding": 1}
SIZE = (2, 32, 16, (16, 16), (3, 3), 32)
GROUPS = {"stride": (2, 1), "padding": 2}
Dynamic = functools.partial(Convolution, adaconv.dynamic_conv2d, "x w b", scale=1.0)

PLAIN = {
    "adaptive_conv": Convolution(
        adaconv.adaptive_conv2d, "x d P q b", adaptive_conv_cases.Case(*SIZE, options=PADDED)
    ),
    "adaptive_separable": Convolution(
        adaconv.adaptive_separable_conv2d,
        "x d P1 q1 P2 q2 b",
        adaptive_separable_cases.Case(*SIZE, options=PADDED),
    ),
    "dynamic_conv": Dynamic(dynamic_conv_cases.Case(2, 9, 5, (16, 17), options=PADDED)),
    "local_adaptive": Convolution(
        functools.partial(adaconv.local_adaptive_conv2d, pitch=4),
        "x d P q a b",
        local_adaptive_cases.Case(*SIZE, options=PADDED),
    ),
}
KINDS = {
    **PLAIN,
    "dynamic_conv, depthwise": Dynamic(
        dynamic_conv_cases.Case(2, 1, 12, (9, 11), (3, 5), groups=6, options=GROUPS)
    ),
    "dynamic_conv, shared": Dynamic(
        dynamic_conv_cases.Case(2, 2, 3, (12, 9), groups=12, options=PADDED)
    ),
}
SLOPES = {
    f"{name}, slope {slope}": replace(
        each, case=replace(each.case, options={**PADDED, "negative_slope": slope})
    )
    for name, each in PLAIN.items()
    if name != "dynamic_conv"
    for slope in (0.2, 1.0, -0.5)
}


def of_each(convolutions):
    return pytest.mark.parametrize("conv", convolutions.values(), ids=convolutions)


@of_each({**KINDS, **SLOPES})
def test_errors_are_those_of_pytorch(cpu_backend, conv):
    """Against fp64, the kernel may err twice as much as PyTorch's own arithmetic in fp32."""
    tensors = conv.case.tensors(normal(1, conv.scale))
    exact = results(conv.case, tensors, gradient_of, "reference")
    single = [t.float() for t in tensors]
    ours, theirs = (
        results(conv.case, single, gradient_of, backend) for backend in (cpu_backend, "reference")
    )
    for name, got, torchs, want in zip(
        ["y", *conv.names.split()], ours, theirs, exact, strict=True
    ):
        error, allowed = (got - want).norm(), 2 * (torchs - want).norm() + 1e-7 * want.norm()
        assert error <= allowed, f"{name}: error {error:.3e}, allowed {allowed:.3e}"


@of_each(KINDS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_rounded_once(cpu_backend, conv, dtype):
    """Sums are kept in fp32, so that the error is that of rounding the result."""
    tensors = [t.to(dtype) for t in conv.case.tensors(normal(2, conv.scale))]
    double = [t.double() for t in tensors]
    got = results(conv.case, tensors, gradient_of, cpu_backend)
    exact = results(conv.case, double, lambda y: gradient_of(y).to(dtype).double(), "reference")
    names = ["y", *conv.names.split()]
    for name, ours, want in zip(names, got, exact, strict=True):
        assert ours.dtype == dtype
        error, allowed = (ours - want).norm(), torch.finfo(dtype).eps / 2 * want.norm()
        assert error <= allowed, f"{name}: error {error:.3e}, allowed {allowed:.3e}"


@of_each(PLAIN)
def test_channels_last_is_kept(cpu_backend, conv):
    x, *others = conv.case.tensors(normal(3))
    expected = conv.case.call([x, *others], cpu_backend)
    last = x.to(memory_format=torch.channels_last).requires_grad_()
    y = conv.case.call([last, *others], cpu_backend)
    assert expected.is_contiguous()
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(y, expected)
    (gx,) = torch.autograd.grad(y, last, torch.ones_like(y))
    assert gx.is_contiguous(memory_format=torch.channels_last)


@of_each(PLAIN)
def test_unbatched(backend, conv):
    tensors = conv.case.tensors(normal(4))
    y = conv.case.call(conv.pictures(tensors, 0), backend)
    assert torch.equal(y, conv.case.call(conv.pictures(tensors), backend)[0])


@of_each(PLAIN)
@pytest.mark.parametrize("dynamic", [False, True])
def test_compiles_without_graph_breaks(cpu_backend, conv, dynamic):
    cases = [replace(conv.case, batch=batch) for batch in (2, 3)]
    check_compiles(conv.function, cases, lambda: normal(5), gradient_of, dynamic)


@of_each(PLAIN)
def test_exports(cpu_backend, conv):
    class Module(torch.nn.Module):
        def forward(self, *tensors):
            return conv.function(*tensors, padding=1)

    tensors = conv.case.tensors(normal(6))
    exported = torch.export.export(Module(), tuple(tensors)).module()
    torch.testing.assert_close(exported(*tensors), Module()(*tensors))


@of_each(PLAIN)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast(backend, conv, dtype):
    """Cast float32 as autocast does, gradients included; float64 stays."""
    case = conv.case
    single = [t.float().requires_grad_() for t in case.tensors(normal(7, conv.scale))]
    with torch.autocast("cpu", dtype):
        y = case.call(single, backend)
    assert y.dtype == dtype
    assert torch.equal(y, case.call([t.to(dtype) for t in single], backend))
    y.float().sum().backward()
    assert all(t.grad.dtype == torch.float32 for t in single)
    with torch.autocast("cpu", dtype):
        assert case.call(case.tensors(normal(8)), backend).dtype == torch.float64
