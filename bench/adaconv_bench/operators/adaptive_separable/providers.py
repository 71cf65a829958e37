"""What adaconv is compared with: plain PyTorch, eager and compiled.

Shapes: x (N, C, H, W), d (N, D, H, W), P1 (C, 3, 3, D), P2 (O, C, D); kernel 3x3, zero padding 1.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from adaconv_bench import formulas


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


@dataclass(frozen=True)
class Usual:
    """A formula with the arguments of the specification, for the one geometry it computes."""

    formula: Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]

    def __call__(
        self, x, d, P1, q1, P2, q2, b, stride, padding, dilation, groups, negative_slope, upsample
    ) -> Tensor:
        """Return y; raise a ValueError for any other geometry."""
        formulas.check_usual(P1.shape[1:3], stride, padding, dilation, groups, upsample)
        y = self.formula(x, d, P1, q1, P2, q2)
        return y if b is None else y + b


def key(x: Tensor, d: Tensor, P1: Tensor, q1: Tensor, P2: Tensor, *_: Any) -> Hashable:
    """Return dtype and C, O, H, W."""
    return x.dtype, x.shape[1], P2.shape[0], d.shape[2], d.shape[3]


NAMED: dict[str, formulas.Formula] = {
    "rows": Usual(rows),
    "mulsum": Usual(mulsum),
    "conv": Usual(conv),
}
FORMULAS = formulas.Formulas(
    "adaptive_separable.adaptive_separable_conv2d", NAMED, NAMED["rows"], key
)
PROVIDERS = FORMULAS.providers()
YARDSTICK = "eager"
