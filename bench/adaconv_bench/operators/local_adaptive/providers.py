"""What adaconv is compared with: plain PyTorch, eager and compiled.

Shapes: x (N, C, H, W), d (N, D, GH, GW), P (O, C, 3, 3, D), a (N, J, H, W); zero padding 1.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor

import adaconv
import adaconv.reference.local_adaptive as reference
from adaconv_bench.operators.adaptive_conv.providers import KEEP_HEAP
from adaconv_bench.operators.local_adaptive.cases import LocalLayer
from adaconv_bench.registry import Provider
from adaconv_bench.trial import fastest

Formula = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, int], Tensor]

#: What identifies a layer to the choice of its formula: dtype, shapes of P and a, pitch.
Key = tuple[torch.dtype, tuple[int, ...], tuple[int, ...], int]


def _regressed(d: Tensor, P: Tensor, q: Tensor) -> Tensor:
    """Return the weights at the grid's points, (N, GH, GW, O, 9·C)."""
    rows = d.permute(0, 2, 3, 1).flatten(0, 2)
    weights = torch.relu(torch.addmm(q.flatten(), rows, P.flatten(0, 3).t()))
    return weights.view(d.shape[0], *d.shape[2:], P.shape[0], -1)


def mixed(x, d, P, q, a, pitch):
    """Mix the weights of every pixel, then one small product per pixel."""
    n, c, h, w = x.shape
    grid = _regressed(d, P, q)
    down, across = (
        reference.nearest(size, pitch, reference.SIDES[a.shape[1]], a) for size in (h, w)
    )
    pairs = [(v, u) for v in down for u in across]
    weights = sum(a[:, j, ..., None, None] * grid[:, v][:, :, u] for j, (v, u) in enumerate(pairs))
    patches = F.unfold(x, 3, padding=1).transpose(1, 2).reshape(n * h * w, c * 9, 1)
    y = torch.bmm(weights.flatten(0, 2), patches)
    return y.view(n, h, w, -1).permute(0, 3, 1, 2)


def cells(x, d, P, q, a, pitch):
    """Multiply patches of pixels that share their neighbours by each neighbour's weights."""
    n, c, h, w = x.shape
    side = reference.SIDES[a.shape[1]]
    grid = _regressed(d, P, q)
    near = pitch - pitch // 2 if side == 2 else 0
    down, across = ((size - 1 + near) // pitch + 1 for size in (h, w))
    pads = (near, across * pitch - near - w, near, down * pitch - near - h)

    def cut(pixels: Tensor) -> Tensor:
        """(N, K, H, W) → (N, cells, K, pixels of a cell)."""
        blocks = F.pad(pixels, pads).unflatten(3, (across, pitch)).unflatten(2, (down, pitch))
        return blocks.permute(0, 2, 4, 1, 3, 5).flatten(4, 5).flatten(1, 2)

    patches, filters = cut(F.unfold(x, 3, padding=1).view(n, c * 9, h, w)), cut(a)
    places = [
        [torch.arange(count).sub(1 - i).clamp(0, points - 1) for i in range(side)]
        for count, points in ((down, d.shape[2]), (across, d.shape[3]))
    ]
    pairs = [(v, u) for v in places[0] for u in places[1]]
    total = sum(
        filters[:, :, j : j + 1] * (grid[:, v][:, :, u].flatten(1, 2) @ patches)
        for j, (v, u) in enumerate(pairs)
    )
    blocks = total.unflatten(3, (pitch, pitch)).unflatten(1, (down, across))
    y = blocks.permute(0, 3, 1, 4, 2, 5).flatten(4, 5).flatten(2, 3)
    return y[:, :, near : near + h, near : near + w]


FORMULAS: dict[str, Formula] = {"mixed": mixed, "cells": cells}


@dataclass(frozen=True)
class Chosen:
    """The name of the formula of each layer; of those that are not named, ``otherwise``."""

    otherwise: str = "cells"
    names: Mapping[Key, str] = field(default_factory=dict)

    def formula(self, P: Tensor, a: Tensor, pitch: int) -> Formula:
        """Return the formula for these arguments of the operator."""
        return FORMULAS[self.names.get(_key(P, a, pitch), self.otherwise)]


def _key(P: Tensor, a: Tensor, pitch: int) -> Key:
    return P.dtype, tuple(P.shape), tuple(a.shape[1:]), pitch


@contextlib.contextmanager
def standing_in(chosen: Chosen, *, compiled: bool = False) -> Iterator[None]:
    """Compute the operator by formulas, in the place of the reference backend."""

    def compute(
        x, d, P, q, a, b, pitch, stride, padding, dilation, groups, negative_slope, upsample
    ):
        geometry = tuple(P.shape[2:4]), tuple(stride), tuple(padding), tuple(dilation)
        if geometry != ((3, 3), (1, 1), (1, 1), (1, 1)) or (groups, upsample) != (1, 1):
            raise ValueError(f"the baselines compute 3x3 kernels with padding 1, got {geometry}")
        formula = chosen.formula(P, a, pitch)
        y = (_compiled(formula) if compiled else formula)(x, d, P, q, a, pitch)
        return y if b is None else y + b

    specification = reference.local_adaptive_conv2d
    reference.local_adaptive_conv2d = compute
    try:
        with adaconv.backend("reference"):
            yield
    finally:
        reference.local_adaptive_conv2d = specification


@functools.cache
def _compiled(formula: Formula) -> Formula:
    torch._dynamo.config.recompile_limit = 64  # one kernel per shape
    return torch.compile(formula, dynamic=False)


def choose(
    provider: Provider,
    compiled: bool,
    cases: Sequence[LocalLayer],
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
        best = notes[layer.name] = fastest(candidates, layer, batch, dtype)
        leaves = layer.problem(1, dtype).leaves
        names[_key(leaves["P"], leaves["a"], layer.pitch)] = best
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
