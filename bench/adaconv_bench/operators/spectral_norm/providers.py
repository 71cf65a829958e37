"""What adaconv is compared with: PyTorch's parametrization of each layer, and compiled formulas."""

import functools
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils import parametrizations

from adaconv.reference.spectral_norm import spectral_normalize
from adaconv_bench.formulas import Formulas

Result = tuple[list[Tensor], Sequence[Tensor], Sequence[Tensor]]


def pytorch(
    weights: Sequence[Tensor],
    us: Sequence[Tensor],
    vs: Sequence[Tensor],
    iterations: int,
    dims: Sequence[int],
    eps: float,
) -> Result:
    """Let the module that :func:`torch.nn.utils.parametrizations.spectral_norm` registers do it."""
    found = []
    for weight, u, v, dim in zip(weights, us, vs, dims, strict=True):
        module = _module()
        module._u, module._v, module.dim, module.eps = u, v, dim, eps
        module.n_power_iterations = iterations
        found.append(module(weight))
    return found, us, vs


@functools.cache
def _module() -> parametrizations._SpectralNorm:
    return parametrizations._SpectralNorm(torch.ones(2, 2))


FORMULAS = Formulas(
    "spectral_norm.spectral_normalize", {"pytorch": pytorch, "specification": spectral_normalize}
)
PROVIDERS = {
    "eager": FORMULAS.provider("eager", "pytorch"),
    "compile": FORMULAS.provider("compile", "specification", compiles=True),
}
YARDSTICK = "eager"
