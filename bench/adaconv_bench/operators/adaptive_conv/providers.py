"""What adaconv is compared with: the formulas of the baselines, eager and compiled."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from adaconv.reference.adaptive_conv import adaptive_conv2d as specification
from adaconv.reference.adaptive_conv import enlarge
from adaconv_bench import baselines, formulas

TAPS = (3, 3)


@dataclass(frozen=True)
class Usual:
    """A formula for what the baselines compute, with the arguments of the specification."""

    formula: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]

    def __call__(
        self, x, d, P, q, b, stride, padding, dilation, groups, negative_slope, upsample
    ) -> Tensor:
        """Return y; raise a ValueError for any other geometry."""
        options = stride, padding, dilation, groups, negative_slope
        if not is_usual(P, q, *options):
            raise ValueError(
                "the baselines compute 3x3 kernels with stride, padding and dilation 1, one group, "
                f"ReLU and a bias q; got kernel={tuple(P.shape[2:4])}, {options}, "
                f"{'no q' if q is None else 'a q'}"
            )
        y = self.formula(enlarge(x, upsample), d, P.flatten(0, 3), q.flatten())
        return y if b is None else y + b


def is_usual(P, q, stride, padding, dilation, groups, negative_slope) -> bool:
    """Return whether the baselines compute a call."""
    geometry = tuple(P.shape[2:4]), tuple(stride), tuple(padding), tuple(dilation), groups
    ones = (1, 1)
    return geometry == (TAPS, ones, ones, ones, 1) and negative_slope == 0 and q is not None


def rows(x, d, P, q, b, *options) -> Tensor:
    """Compute by rows: the baseline where it can, else the specification, which does the same."""
    usual = is_usual(P, q, *options[:-1])
    return (NAMED["rows"] if usual else specification)(x, d, P, q, b, *options)


def key(x: Tensor, d: Tensor, P: Tensor, *_: Any) -> Hashable:
    """Return dtype and C, O, H, W."""
    return x.dtype, x.shape[1], P.shape[0], d.shape[2], d.shape[3]


NAMED: dict[str, formulas.Formula] = {
    "rows": Usual(baselines.rows),
    "mulsum": Usual(baselines.mulsum),
    "conv": Usual(baselines.conv),
}
FORMULAS = formulas.Formulas("adaptive_conv.adaptive_conv2d", NAMED, rows, key)
PROVIDERS = FORMULAS.providers()
YARDSTICK = "eager"
