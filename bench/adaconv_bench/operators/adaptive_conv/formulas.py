"""The formulas of :mod:`adaconv_bench.baselines` in the place of the operator."""

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

import adaconv
import adaconv.reference.adaptive_conv as reference
from adaconv_bench import baselines

Formula = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]

#: What identifies a layer to the choice of its formula: dtype and C, O, H, W.
Key = tuple[torch.dtype, int, int, int, int]

FORMULAS: dict[str, Formula] = {
    "rows": baselines.rows,
    "mulsum": baselines.mulsum,
    "conv": baselines.conv,
}

TAPS = (3, 3)


@dataclass(frozen=True)
class Chosen:
    """The formula that is the fastest at each layer, named by what a trial found.

    A layer that was not on trial is computed by ``rows``; a geometry that the formulas do not
    compute by the specification, which is ``rows`` for any geometry.
    """

    names: Mapping[Key, str] = field(default_factory=dict)

    def formula(self, x: Tensor, P: Tensor) -> Formula:
        """Return the formula for these arguments of the operator."""
        key = x.dtype, x.shape[1], P.shape[0], x.shape[2], x.shape[3]
        return FORMULAS[self.names.get(key, "rows")]


@contextlib.contextmanager
def standing_in(formula: Formula | Chosen, *, compiled: bool = False) -> Iterator[None]:
    """Compute the operator by formulas, wherever it is called.

    They take the place of the reference backend, so that layers and whole networks run them
    through the same public function, with the same checks, as every other provider.
    """
    specification = reference.adaptive_conv2d
    reference.adaptive_conv2d = _as_reference(formula, specification, compiled)
    try:
        with adaconv.backend("reference"):
            yield
    finally:
        reference.adaptive_conv2d = specification


def _as_reference(
    formula: Formula | Chosen, specification: Callable[..., Tensor], compiled: bool
) -> Callable[..., Tensor]:
    ready = _compiled if compiled else lambda function: function

    def compute(x, d, P, q, b, stride, padding, dilation, groups, negative_slope, upsample):
        geometry = tuple(P.shape[2:4]), tuple(stride), tuple(padding), tuple(dilation), groups
        if geometry == (TAPS, (1, 1), (1, 1), (1, 1), 1) and negative_slope == 0 and q is not None:
            x = reference.enlarge(x, upsample)
            best = formula.formula(x, P) if isinstance(formula, Chosen) else formula
            y = ready(best)(x, d, P.flatten(0, 3), q.flatten())
            return y if b is None else y + b
        if isinstance(formula, Chosen):
            options = stride, padding, dilation, groups, negative_slope, upsample
            return ready(specification)(x, d, P, q, b, *options)
        raise ValueError(
            "the baselines compute 3x3 kernels with stride, padding and dilation 1, one group, "
            f"ReLU and a bias q; got {geometry}, negative_slope={negative_slope}, "
            f"{'no q' if q is None else 'a q'}"
        )

    return compute


@functools.cache
def _compiled(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    # One kernel per shape, as someone who trains at one shape has; beyond the default limit of
    # 8 shapes torch.compile would silently run eagerly.
    torch._dynamo.config.recompile_limit = 64
    return torch.compile(function, dynamic=False)
