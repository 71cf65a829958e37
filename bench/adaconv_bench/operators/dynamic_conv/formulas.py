"""The PyTorch formulations that dynamic convolution is measured against.

Each takes weights w (N, U, M, K, L) and unfolded columns (N, U, R, K, L) and returns (N, U, M, R,
L): the channels fall into U units, of M filters for one group or of one filter for R groups; K are
the taps of all channels of a group, L the pixels.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

import adaconv
import adaconv.reference.dynamic_conv as reference

Formula = Callable[[Tensor, Tensor], Tensor]


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


FORMULAS: dict[str, Formula] = {"einsum": einsum, "mulsum": mulsum, "bmm": bmm}


@dataclass(frozen=True)
class Chosen:
    """The formula that is the fastest for weights of each shape and dtype, by its name.

    One that was not on trial is computed by ``mulsum``.
    """

    names: Mapping[tuple[torch.dtype, tuple[int, ...]], str] = field(default_factory=dict)

    def name(self, w: Tensor) -> str:
        """Return the name for these weights; the batch makes no difference."""
        return self.names.get((w.dtype, tuple(w.shape[1:])), "mulsum")


@contextlib.contextmanager
def standing_in(chosen: str | Chosen, *, compiled: bool = False) -> Iterator[None]:
    """Compute the operator by a formula, in the place of the reference backend."""

    def compute(x, w, b, stride, padding, dilation, groups):
        name = chosen if isinstance(chosen, str) else chosen.name(w)
        formula = _compiled(name) if compiled else functools.partial(_by_formula, name)
        y = formula(x, w, stride, padding, dilation, groups)
        return y if b is None else y + b

    specification = reference.dynamic_conv2d
    reference.dynamic_conv2d = compute
    try:
        with adaconv.backend("reference"):
            yield
    finally:
        reference.dynamic_conv2d = specification


def _by_formula(name, x, w, stride, padding, dilation, groups) -> Tensor:
    n, filters, _, kh, kw, *picture = w.shape
    columns = F.unfold(x, (kh, kw), dilation, padding, stride)
    units = min(filters, groups)
    split = columns.view(n, units, groups // units, -1, columns.shape[2])
    weights = w.reshape(n, units, filters // units, -1, columns.shape[2])
    return FORMULAS[name](weights, split).reshape(n, -1, *picture)


@functools.cache
def _compiled(name: str) -> Callable[..., Tensor]:
    # One kernel per shape: beyond the default limit torch.compile would silently run eagerly.
    torch._dynamo.config.recompile_limit = 64
    return torch.compile(functools.partial(_by_formula, name), dynamic=False)
