"""The gate that every number passes: is what was timed also right?

Three checks of the same call:

1. against the specification in fp64, on a few samples: the error of y and of every gradient is at
   most twice the yardstick's own;
2. against the specification in small integers: equal to the last bit;
3. against the yardstick in the dtype that is measured, at full size: what the first step of the
   timed run gave. Where the yardstick does not take part, against the other who does.

bf16 and fp16 pass by the first and the third: small integers are not exact in them. They start from
values that the dtype has, so that the specification in fp64 computes the same problem; at full size
two formulations may differ by three times the yardstick's own error.

An error is ``‖a - b‖ / ‖b‖`` over the whole tensor (Frobenius). Where ``b`` is a gradient that
vanishes but for rounding, as that of a bias in front of batch normalisation does, the error is
taken in units of the largest gradient's norm.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

import adaconv
from adaconv_bench.registry import Case, Problem, Provider, draw

#: Added to twice the yardstick's error, which can happen to be 0.
ROUNDING = 8 * torch.finfo(torch.float32).eps

#: Allowed difference of two fp32 formulations at full size, where long sums are rounded.
FULL_SIZE = 1e-5

HALF = (torch.bfloat16, torch.float16)

Results = Mapping[str, Tensor]


@dataclass(frozen=True)
class Verdict:
    """What the checks of one provider on one case found.

    Attributes:
        errors: by check and tensor, for instance ``"fp64 P"``: the error found.
        bounds: the largest error allowed, by the same names.
    """

    errors: Mapping[str, float] = field(default_factory=dict)
    bounds: Mapping[str, float] = field(default_factory=dict)

    @property
    def faults(self) -> list[str]:
        """The names of the checks that failed, the worst first; NaN fails."""
        failed = [name for name, error in self.errors.items() if not error <= self.bounds[name]]
        return sorted(failed, key=lambda name: self.errors[name], reverse=True)

    @property
    def green(self) -> bool:
        """Whether something was checked and nothing failed."""
        return bool(self.errors) and not self.faults

    def __or__(self, other: "Verdict") -> "Verdict":
        """Return the checks of both."""
        return Verdict({**self.errors, **other.errors}, {**self.bounds, **other.bounds})

    def __str__(self) -> str:
        """One line: the worst failure, or how much of its bound the largest error takes."""
        if not self.errors:
            return "red: nothing was checked"
        if self.faults:
            name = self.faults[0]
            return f"red: {name} is off by {self.errors[name]:.2g}, allowed {self.bounds[name]:.2g}"
        worst = max(self.errors[name] / bound for name, bound in self.bounds.items() if bound)
        return f"green: {len(self.errors)} checks, largest error {worst:.0%} of its bound"


class Gate:
    """The checks of one case; what they compare with is computed once.

    Args:
        case: the case.
        yardstick: the formulation whose own error is the measure.
        dtype: the dtype that is measured.
        batch: samples of the checks in fp64, where the specification writes the weights to memory.
    """

    def __init__(
        self,
        case: Case,
        yardstick: Provider,
        dtype: torch.dtype = torch.float32,
        batch: int = 2,
    ) -> None:
        self.case, self.yardstick, self.dtype, self.batch = case, yardstick, dtype, batch
        self.half = dtype in HALF

    def check(self, provider: Provider) -> Verdict:
        """Compare y and every gradient with the specification."""
        verdict = self._check_rounding(provider)
        exact = self.case.exact and not self.half
        return verdict | self._check_integers(provider) if exact else verdict

    def check_full_size(self, found: Results, measure: Results) -> Verdict:
        """Compare results of the timed call: a provider's and the yardstick's or another's."""
        own = {name: 3 * self._measure[name] if self.half else 0.0 for name in measure}
        bounds = {name: own[name] + FULL_SIZE + self._slack(name) for name in measure}
        return self._verdict("full size", self._errors(found, measure), bounds)

    def _check_rounding(self, provider: Provider) -> Verdict:
        same = provider.name == self.yardstick.name
        errors = self._measure if same else self._errors(self._results(provider), self._truth)
        bounds = {
            name: 2 * error + ROUNDING + self._slack(name) for name, error in self._measure.items()
        }
        return self._verdict("fp64", errors, bounds)

    def _check_integers(self, provider: Provider) -> Verdict:
        found = self._results(provider, integers=True)
        errors = {
            name: relative_error(found[name], true) for name, true in self._integer_truth.items()
        }
        return self._verdict("integer", errors, dict.fromkeys(errors, 0.0))

    @staticmethod
    def _verdict(check: str, errors: Mapping[str, float], bounds: Mapping[str, float]) -> Verdict:
        return Verdict(
            {f"{check} {name}": error for name, error in errors.items()},
            {f"{check} {name}": bound for name, bound in bounds.items()},
        )

    def _errors(self, found: Results, expected: Results) -> dict[str, float]:
        largest = max(norm(true) for name, true in expected.items() if name != "y")
        return {
            name: relative_error(found[name], true, largest if name in self._vanishing else None)
            for name, true in expected.items()
        }

    @functools.cached_property
    def _truth(self) -> Results:
        return self._specified(draw(self.case, self.batch, torch.float64, self.dtype))

    @functools.cached_property
    def _integer_truth(self) -> Results:
        return self._specified(draw(self.case, self.batch, torch.float64, integers=True))

    @functools.cached_property
    def _measure(self) -> Mapping[str, float]:
        return self._errors(self._results(self.yardstick), self._truth)

    @functools.cached_property
    def _vanishing(self) -> frozenset[str]:
        """The names of the gradients that are 0 but for rounding."""
        norms = {name: norm(true) for name, true in self._truth.items() if name != "y"}
        return frozenset(name for name, size in norms.items() if size < 1e-12 * max(norms.values()))

    def _results(self, provider: Provider, *, integers: bool = False) -> Results:
        dtype = provider.dtype or self.dtype
        problem = draw(self.case, self.batch, dtype, self.dtype, integers=integers)
        with provider.active():
            return problem.results()

    def _slack(self, name: str) -> float:
        return 0.0 if name == "y" else self.case.gradient_slack

    @staticmethod
    def _specified(problem: Problem) -> Results:
        with adaconv.backend("reference"):
            return problem.results()


def relative_error(found: Tensor, expected: Tensor, unit: float | None = None) -> float:
    """Return ``‖found - expected‖`` in units of ``‖expected‖``, or of ``unit`` where it is given.

    Where the unit is 0 the error is absolute; where the shapes differ it is infinite.

    Example:
        >>> found, expected = torch.tensor([3.0, 4.5]), torch.tensor([3.0, 4.0])
        >>> relative_error(found, expected)
        0.1
    """
    if found.shape != expected.shape:
        return float("inf")
    return norm(found.double() - expected.double()) / (
        (norm(expected) if unit is None else unit) or 1.0
    )


def norm(tensor: Tensor) -> float:
    """Return the Frobenius norm, summed in fp64."""
    return tensor.double().norm().item()
