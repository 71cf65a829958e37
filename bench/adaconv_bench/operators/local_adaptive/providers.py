"""What adaconv is compared with: plain PyTorch, eager and compiled.

Shapes: x (N, C, H, W), d (N, D, GH, GW), P (O, C, 3, 3, D), a (N, J, H, W); zero padding 1.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

import adaconv.reference.local_adaptive as reference
from adaconv_bench import formulas


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


@dataclass(frozen=True)
class Usual:
    """A formula with the arguments of the specification, for the one geometry it computes."""

    formula: Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, int], Tensor]

    def __call__(
        self, x, d, P, q, a, b, pitch, stride, padding, dilation, groups, negative_slope, upsample
    ) -> Tensor:
        """Return y; raise a ValueError for any other geometry."""
        formulas.check_usual(P.shape[2:4], stride, padding, dilation, groups, upsample)
        y = self.formula(x, d, P, q, a, pitch)
        return y if b is None else y + b


def key(
    x: Tensor, d: Tensor, P: Tensor, q: Tensor, a: Tensor, b: Tensor, pitch: int, *_: Any
) -> Hashable:
    """Return dtype, shapes of P and of a picture of a, pitch."""
    return P.dtype, tuple(P.shape), tuple(a.shape[1:]), pitch


NAMED: dict[str, formulas.Formula] = {"mixed": Usual(mixed), "cells": Usual(cells)}
FORMULAS = formulas.Formulas("local_adaptive.local_adaptive_conv2d", NAMED, NAMED["cells"], key)
PROVIDERS = FORMULAS.providers()
YARDSTICK = "eager"
