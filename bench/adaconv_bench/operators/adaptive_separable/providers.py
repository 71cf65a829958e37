"""What adaconv is compared with: plain PyTorch, eager and compiled.

Shapes: x (N, C, H, W), d (N, D, H, W), P1 (C, 3, 3, D), P2 (O, C, D); kernel 3x3, zero padding 1.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor

import adaconv
import adaconv.reference.adaptive_separable as reference
from adaconv_bench.operators.adaptive_conv.providers import KEEP_HEAP
from adaconv_bench.operators.adaptive_separable.cases import SeparableLayer
from adaconv_bench.registry import Provider
from adaconv_bench.trial import fastest

Formula = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]

#: What identifies a layer to the choice of its formula: dtype and C, O, H, W.
Key = tuple[torch.dtype, int, int, int, int]


def rows(x, d, P1, q1, P2, q2):
    """Regress weights as rows of matrix products, then one small product per pixel."""
    n, c, h, w = x.shape
    features = d.permute(0, 2, 3, 1).flatten(0, 2)
    filters = torch.relu(torch.addmm(q1.flatten(), features, P1.flatten(0, 2).t()))
    mixtures = torch.relu(torch.addmm(q2.flatten(), features, P2.flatten(0, 1).t()))
    patches = F.unfold(x, 3, padding=1).transpose(1, 2).reshape(n * h * w, c, 9)
    u = (filters.view(n * h * w, c, 9) * patches).sum(2, keepdim=True)
    y = torch.bmm(mixtures.view(n * h * w, -1, c), u)
    return y.view(n, h, w, -1).permute(0, 3, 1, 2)


def _planes(x, d, P1, q1, P2, q2):
    """Return the pointwise weights, (N, O, C, H·W), and u, (N, C, H·W)."""
    n, c, h, w = x.shape
    filters = torch.relu(F.conv2d(d, P1.flatten(0, 2)[:, :, None, None], q1.flatten()))
    mixtures = torch.relu(F.conv2d(d, P2.flatten(0, 1)[:, :, None, None], q2.flatten()))
    patches = F.unfold(x, 3, padding=1).view(n, c, 9, h * w)
    return mixtures.view(n, -1, c, h * w), (filters.view(n, c, 9, h * w) * patches).sum(2)


def mulsum(x, d, P1, q1, P2, q2):
    """1x1 convolutions for the weights, broadcast products and sums for their use."""
    mixtures, u = _planes(x, d, P1, q1, P2, q2)
    return (mixtures * u.unsqueeze(1)).sum(2).unflatten(2, x.shape[2:])


def conv(x, d, P1, q1, P2, q2):
    """1x1 convolutions for the weights, einsum for the second stage."""
    mixtures, u = _planes(x, d, P1, q1, P2, q2)
    return torch.einsum("nocl,ncl->nol", mixtures, u).unflatten(2, x.shape[2:])


FORMULAS: dict[str, Formula] = {"rows": rows, "mulsum": mulsum, "conv": conv}


@dataclass(frozen=True)
class Chosen:
    """The name of the formula of each layer; of those that are not named, ``otherwise``."""

    otherwise: str = "rows"
    names: Mapping[Key, str] = field(default_factory=dict)

    def formula(self, x: Tensor, P2: Tensor) -> Formula:
        """Return the formula for these arguments of the operator."""
        key = x.dtype, x.shape[1], P2.shape[0], x.shape[2], x.shape[3]
        return FORMULAS[self.names.get(key, self.otherwise)]


@contextlib.contextmanager
def standing_in(chosen: Chosen, *, compiled: bool = False) -> Iterator[None]:
    """Compute the operator by formulas, in the place of the reference backend."""

    def compute(
        x, d, P1, q1, P2, q2, b, stride, padding, dilation, groups, negative_slope, upsample
    ):
        geometry = tuple(P1.shape[1:3]), tuple(stride), tuple(padding), tuple(dilation)
        if geometry != ((3, 3), (1, 1), (1, 1), (1, 1)) or (groups, upsample) != (1, 1):
            raise ValueError(f"the baselines compute 3x3 kernels with padding 1, got {geometry}")
        formula = chosen.formula(x, P2)
        y = (_compiled(formula) if compiled else formula)(x, d, P1, q1, P2, q2)
        return y if b is None else y + b

    specification = reference.adaptive_separable_conv2d
    reference.adaptive_separable_conv2d = compute
    try:
        with adaconv.backend("reference"):
            yield
    finally:
        reference.adaptive_separable_conv2d = specification


@functools.cache
def _compiled(formula: Formula) -> Formula:
    torch._dynamo.config.recompile_limit = 64  # one kernel per shape
    return torch.compile(formula, dynamic=False)


def choose(
    provider: Provider,
    compiled: bool,
    cases: Sequence[SeparableLayer],
    batch: int,
    dtype: torch.dtype,
) -> Provider:
    """Return the provider with the formula that is the fastest at each layer of the cases."""
    candidates = {
        name: Provider(name, functools.partial(standing_in, Chosen(name), compiled=compiled))
        for name in FORMULAS
    }
    names: dict[Key, str] = {}
    notes = {}
    for layer in cases:
        height, width = layer.picture
        best = notes[layer.name] = fastest(candidates, layer, batch, dtype)
        names[dtype, layer.channels, layer.out_channels, height, width] = best
    return replace(
        provider,
        active=functools.partial(standing_in, Chosen(names=names), compiled=compiled),
        choose=None,
        note=", ".join(f"{layer} by {name}" for layer, name in notes.items()),
    )


def _providers() -> Iterator[Provider]:
    for kind, suffix, compiled, environment in [
        ("eager", "", False, {}),
        ("eager", "-tuned", False, KEEP_HEAP),
        ("compile", "", True, {}),
    ]:
        active = functools.partial(standing_in, Chosen(), compiled=compiled)
        provider = Provider(f"{kind}{suffix}", active, environment, has_memory=not compiled)
        yield replace(provider, choose=functools.partial(choose, provider, compiled))
        for name in FORMULAS:
            active = functools.partial(standing_in, Chosen(name), compiled=compiled)
            yield replace(provider, name=f"{kind}-{name}{suffix}", active=active)


PROVIDERS = {provider.name: provider for provider in _providers()}
YARDSTICK = "eager"
