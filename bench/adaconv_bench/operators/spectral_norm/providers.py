"""What adaconv is compared with: PyTorch's parametrization of each layer, and compiled formulas."""

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor
from torch.nn.utils import parametrizations

import adaconv
import adaconv.reference.spectral_norm as reference
from adaconv_bench.registry import Provider

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


@functools.cache
def _compiled() -> Callable[..., Result]:
    return torch.compile(reference.spectral_normalize, dynamic=False)


@contextlib.contextmanager
def standing_in(formula: Callable[[], Callable[..., Result]]) -> Iterator[None]:
    """Compute the operator by what ``formula`` returns, in the place of the reference backend."""
    standing = formula()
    specification = reference.spectral_normalize
    reference.spectral_normalize = standing
    try:
        with adaconv.backend("reference"):
            yield
    finally:
        reference.spectral_normalize = specification


def _pytorch() -> Callable[..., Result]:
    return pytorch


PROVIDERS = {
    "eager": Provider("eager", functools.partial(standing_in, _pytorch)),
    "compile": Provider("compile", functools.partial(standing_in, _compiled), has_memory=False),
}
YARDSTICK = "eager"
