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
