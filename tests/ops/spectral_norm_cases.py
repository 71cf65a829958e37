"""Calls of spectral normalisation that the tests share."""

import itertools
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from triton_contract import check_units, on

from adaconv import spectral_normalize

#: Outputs of the CPU backend, as ``--perturb`` names them: Ŵ; u, v and σ; the gradients.
OUTPUTS = ("forward.0", "forward.1", "backward.0")

#: (shape, dimension of the rows), as of Conv2d, Linear, ConvTranspose1d, Bilinear, ConvTranspose2d
WEIGHTS = [((4, 3, 2, 2), 0), ((3, 5), 0), ((2, 6, 3), 1), ((1, 7, 2), 0), ((3, 4, 2, 2), -3)]

#: What the kernel cuts into blocks and vectors: long rows, many rows, and what is left of both.
LARGE = [((70, 1000), 0), ((1, 8192), 0), ((5, 70001), 0), ((35, 455, 9), 0), ((33, 130, 5), 1)]

#: Matrices around the blocks of rows, of columns and of values, two and three at a time; alone.
NETWORKS = [
    WEIGHTS,
    [((32, 64), 0), ((33, 65), 0), ((31, 63), 0)],
    [((1, 1), 0), ((2, 1024), 0), ((3, 1025), 0)],
    [((1, 2047), 0), ((2, 1024, 1), 0)],
    [((1, 2049), 0), ((3, 2), 0)],
    [((9, 37, 2), 1)],
    [((1, 1), 1)],
    [((5, 4100), 0), ((1, 2), 0)],
    *([shape] for shape in itertools.product([(7, 9), (2, 3, 2), (34, 2)], [0, 1])),
]


@dataclass
class Weights:
    """Spectral normalisation of weights, laid one behind another."""

    shapes: tuple
    steps: int = 0

    def tensors(self, make):
        return [make(*shape) for shape in self.shapes]

    def call(self, tensors, backend):
        us = [F.normalize(w.detach().new_ones(len(w)), dim=0) for w in tensors]
        vs = [F.normalize(w[0].detach().flatten() ** 0, dim=0) for w in tensors]
        found = spectral_normalize(tensors, us, vs, self.steps, backend=backend)
        return torch.cat([y.flatten() for y in found])


def drawn(dtype=torch.float64, seed=0, weights=WEIGHTS):
    """Return weights, us and vs."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    tensors = [normal(*shape).to(dtype).requires_grad_() for shape, _ in weights]
    us = [F.normalize(normal(shape[dim]), dim=0).to(dtype) for shape, dim in weights]
    columns = [w.numel() // len(u) for w, u in zip(tensors, us, strict=True)]
    return tensors, us, [F.normalize(normal(count), dim=0).to(dtype) for count in columns]


def results(weights, tensors, us, vs, n, **options):
    """Return the normalised weights, the new us and vs, and the gradients."""
    us, vs = [u.clone() for u in us], [v.clone() for v in vs]
    dims = [dim for _, dim in weights]
    found = spectral_normalize(tensors, us, vs, n, dims=dims, **options)
    upstream = [torch.sin(torch.arange(y.numel()).double()).view(y.shape).to(y) for y in found]
    return [*found, *us, *vs, *torch.autograd.grad(found, tensors, upstream)]


def check_network(backend, device, weights, n, dtype):
    """Compare a backend's results and gradients with the reference's in float64."""
    tensors, us, vs = drawn(torch.float64, weights=weights)
    # Before u and v have approached the singular vectors, σ is a sum that cancels.
    dims = [dim for _, dim in weights]
    spectral_normalize(tensors, us, vs, 5, dims=dims, backend="reference")
    given = [on(device, dtype, part) for part in (tensors, us, vs)]
    exact = [[t.cpu().double() for t in part] for part in given]
    found, expected = (
        results(weights, [t.requires_grad_() for t in part[0]], *part[1:], n, backend=name)
        for part, name in ((given, backend), (exact, "reference"))
    )
    assert all(t.dtype == dtype for t in found)
    check_units(found, expected, 16 if dtype == torch.float32 else 2)
