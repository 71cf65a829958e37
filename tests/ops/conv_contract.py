"""What the convolution operators promise of PyTorch's tools.

A ``case`` has ``tensors(make)`` and ``call(tensors, backend)``, as those of ``STEM_cases.py``;
``make()`` is a new generator of numbers.
"""

import torch


def normal(seed, scale=1.0):
    """Return a new generator of numbers in fp64, of that standard deviation."""
    generator = torch.Generator().manual_seed(seed)
    return lambda *shape: torch.randn(shape, generator=generator, dtype=torch.float64) * scale


def gradient_of(y):
    """Return an upstream gradient whose values all differ."""
    return torch.sin(torch.arange(y.numel(), dtype=torch.float64)).view(y.shape).to(y.dtype)


def results(case, tensors, gy_of, backend, **more):
    """Return y and the gradient of every argument for the upstream gradient ``gy_of(y)``."""
    leaves = [None if t is None else t.detach().requires_grad_() for t in tensors]
    y = case.call(leaves, backend, **more)
    given = [t for t in leaves if t is not None]
    return [y.detach(), *torch.autograd.grad(y, given, gy_of(y))]


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
