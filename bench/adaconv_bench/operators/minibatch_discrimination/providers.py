"""What adaconv is compared with: all pairs by broadcasting, and distances by ``torch.cdist``."""

import contextlib
import functools
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

import adaconv
import adaconv.reference.minibatch_discrimination as reference
from adaconv_bench.registry import Provider

Formula = Callable[[Tensor, Tensor | None, int | None], Tensor]


def broadcast(M: Tensor, Z: Tensor | None, skip: int | None) -> Tensor:
    """Write all differences; what most people write first."""
    Z = M if Z is None else Z
    o = torch.exp(-(M[:, None] - Z).abs().sum(3)).sum(1)
    return o if skip is None else o - 1


def cdist(M: Tensor, Z: Tensor | None, skip: int | None) -> Tensor:
    """Write all distances, by the kernel that PyTorch has for them."""
    x = M.transpose(0, 1).contiguous()
    z = x if Z is None else Z.transpose(0, 1).contiguous()
    o = torch.exp(-torch.cdist(x, z, p=1)).sum(2).t()
    return o if skip is None else o - 1


@contextlib.contextmanager
def standing_in(formula: Formula, *, compiled: bool = False) -> Iterator[None]:
    """Compute the operator by a formula, in the place of the reference backend."""
    specification = reference.minibatch_discrimination
    reference.minibatch_discrimination = _compiled(formula) if compiled else formula
    try:
        with adaconv.backend("reference"):
            yield
    finally:
        reference.minibatch_discrimination = specification


@functools.cache
def _compiled(formula: Formula) -> Formula:
    return torch.compile(formula, dynamic=False)


def _provider(name: str, formula: Formula, *, compiled: bool = False) -> Provider:
    active = functools.partial(standing_in, formula, compiled=compiled)
    return Provider(name, active, has_memory=not compiled)


PROVIDERS = {
    provider.name: provider
    for provider in (
        _provider("eager", cdist),
        _provider("eager-broadcast", broadcast),
        _provider("compile", broadcast, compiled=True),
        _provider("compile-cdist", cdist, compiled=True),
    )
}
YARDSTICK = "eager"
