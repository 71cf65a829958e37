"""Calls of minibatch discrimination that the tests share."""

from dataclasses import dataclass

import torch

from adaconv import minibatch_discrimination

#: Outputs of the CPU backend, as ``--perturb`` names them: o; gM, gZ.
OUTPUTS = ("forward.0", "backward.0", "backward.1")

#: N, J (None: no second set), B, C
SHAPES = [
    (5, None, 3, 2), (64, None, 2, 5), (65, None, 1, 1), (200, None, 3, 7), (1, None, 2, 3),
    (5, 7, 3, 2), (3, 130, 2, 4), (70, 33, 4, 5), (1, 1, 1, 1), (0, 4, 2, 3), (4, 0, 2, 3),
    (0, None, 2, 3), (3, None, 0, 2),
]  # fmt: skip


@dataclass
class Samples:
    """Minibatch discrimination of sets of samples, (N, B, C) each."""

    shapes: tuple

    def tensors(self, make):
        return [make(*shape) / shape[2] for shape in self.shapes]

    def call(self, tensors, backend):
        return minibatch_discrimination(*tensors, backend=backend)


def drawn(shape, dtype=torch.float64, seed=0):
    """Return M and the second set, if there is one: close enough that most pairs count."""
    n, others, kernels, size = shape
    generator = torch.Generator().manual_seed(seed)
    counts = [n] if others is None else [n, others]
    return [
        torch.randn(count, kernels, size, generator=generator, dtype=torch.float64)
        .div(size).to(dtype).requires_grad_()
        for count in counts
    ]  # fmt: skip


def gradient_of(o):
    return torch.sin(torch.arange(o.numel(), dtype=torch.float64)).view(o.shape).to(o)


def results(sets, backend, **options):
    """Return o and the gradient of each set."""
    o = minibatch_discrimination(*sets, backend=backend, **options)
    return [o.detach(), *torch.autograd.grad(o, sets, gradient_of(o))]
