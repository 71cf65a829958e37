"""What the convolution operators promise of PyTorch's tools.

A ``case`` has ``tensors(make)`` and ``call(tensors, backend)``, as those of ``STEM_cases.py``;
``make()`` is a new generator of numbers.
"""

import torch


def check_compiles(operator, cases, make, gradient_of, dynamic):
    """Compile without a graph break; values and gradients are those of the eager operator."""

    def step(*tensors):
        return operator(*tensors, padding=1).sin()

    torch.compiler.reset()  # what was compiled for another operator has the same code
    compiled = torch.compile(step, fullgraph=True, backend="aot_eager", dynamic=dynamic)
    for case in cases:
        tensors = [t.requires_grad_() for t in case.tensors(make())]
        y, expected = compiled(*tensors), step(*tensors)
        torch.testing.assert_close(y, expected)
        got = torch.autograd.grad(y, tensors, gradient_of(y))
        want = torch.autograd.grad(expected, tensors, gradient_of(y))
        torch.testing.assert_close(got, want)


def check_exports(operator, tensors):
    """Export a module that calls the operator."""

    class Module(torch.nn.Module):
        def forward(self, *tensors):
            return operator(*tensors, padding=1)

    exported = torch.export.export(Module(), tuple(tensors)).module()
    torch.testing.assert_close(exported(*tensors), Module()(*tensors))


def check_autocast(case, single, double, backend, dtype):
    """Cast float32 as autocast does, gradients included; float64 stays."""
    single = [t.float().requires_grad_() for t in single]
    with torch.autocast("cpu", dtype):
        y = case.call(single, backend)
    assert y.dtype == dtype
    assert torch.equal(y, case.call([t.to(dtype) for t in single], backend))
    y.float().sum().backward()
    assert all(t.grad.dtype == torch.float32 for t in single)
    with torch.autocast("cpu", dtype):
        assert case.call(double, backend).dtype == torch.float64


def check_errors_are_those_of_pytorch(case, results, names, tensors, gradient_of, backend):
    """Against fp64, the kernel may err twice as much as PyTorch's own arithmetic in fp32."""
    exact = results(case, tensors, gradient_of, "reference")
    single = [t.float() for t in tensors]
    ours = results(case, single, gradient_of, backend)
    theirs = results(case, single, gradient_of, "reference")
    for name, got, torchs, want in zip(names, ours, theirs, exact, strict=True):
        error, allowed = (got - want).norm(), 2 * (torchs - want).norm() + 1e-7 * want.norm()
        assert error <= allowed, f"{name}: error {error:.3e}, allowed {allowed:.3e}"


def check_rounded_once(case, results, names, tensors, gradient_of, backend):
    """Sums are kept in fp32, so that the error is that of rounding the result."""
    dtype = tensors[0].dtype
    got = results(case, tensors, gradient_of, backend)
    double = [t.double() for t in tensors]
    exact = results(case, double, lambda y: gradient_of(y).to(dtype).double(), "reference")
    for name, ours, want in zip(names, got, exact, strict=True):
        assert ours.dtype == dtype
        error, allowed = (ours - want).norm(), torch.finfo(dtype).eps / 2 * want.norm()
        assert error <= allowed, f"{name}: error {error:.3e}, allowed {allowed:.3e}"
