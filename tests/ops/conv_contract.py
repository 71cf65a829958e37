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
