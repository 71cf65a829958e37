"""What adaconv is compared with: the formulas of PyTorch, eager and compiled.

The products of each take weights w (N, U, M, K, L) and unfolded columns (N, U, R, K, L) and return
(N, U, M, R, L): the channels fall into U units, of M filters for one group or of one filter for R
groups; K are the taps of all channels of a group, L the pixels.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from adaconv_bench import formulas


def einsum(w: Tensor, columns: Tensor) -> Tensor:
    """What most people would write first."""
    return torch.einsum("numkl,nurkl->numrl", w, columns)


def mulsum(w: Tensor, columns: Tensor) -> Tensor:
    """Broadcast product and sum."""
    return (w.unsqueeze(3) * columns.unsqueeze(2)).sum(4)


def bmm(w: Tensor, columns: Tensor) -> Tensor:
    """One small product per pixel."""
    rows = w.permute(0, 1, 4, 2, 3)
    return (rows @ columns.permute(0, 1, 4, 3, 2)).permute(0, 1, 3, 4, 2)


@dataclass(frozen=True)
class Unfolded:
    """The operator by products with unfolded columns, with the arguments of the specification."""

    product: Callable[[Tensor, Tensor], Tensor]

    def __call__(self, x, w, b, stride, padding, dilation, groups) -> Tensor:
        """Return y."""
        n, filters, _, kh, kw, *picture = w.shape
        columns = F.unfold(x, (kh, kw), dilation, padding, stride)
        units = min(filters, groups)
        split = columns.view(n, units, groups // units, -1, columns.shape[2])
        weights = w.reshape(n, units, filters // units, -1, columns.shape[2])
        y = self.product(weights, split).reshape(n, -1, *picture)
        return y if b is None else y + b


def key(x: Tensor, w: Tensor, *_: Any) -> Hashable:
    """Return dtype and shape of a picture's weights."""
    return w.dtype, tuple(w.shape[1:])


NAMED: dict[str, formulas.Formula] = {
    "einsum": Unfolded(einsum),
    "mulsum": Unfolded(mulsum),
    "bmm": Unfolded(bmm),
}
FORMULAS = formulas.Formulas("dynamic_conv.dynamic_conv2d", NAMED, NAMED["mulsum"], key)
PROVIDERS = FORMULAS.providers()
YARDSTICK = "eager"
