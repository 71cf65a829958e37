"""What can be benchmarked: operators with their cases and providers, found in a folder.

A module of :mod:`adaconv_bench.operators` is named after its operator's stem and defines
``PRESETS``, ``PROVIDERS`` and ``YARDSTICK``, ``STATIC`` where it has Triton kernels, and ``SUITE``
unless ``adaconv bench all`` measures all its presets; adding an operator adds such a file and edits
nothing.
"""

import contextlib
import difflib
import functools
import importlib
import pkgutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch
from torch import Tensor

import adaconv
from adaconv_bench import operators

#: Name of the provider under test.
OURS = "adaconv"


@dataclass(frozen=True)
class Problem:
    """One differentiable call: what is computed, from which leaves, and the gradient that arrives.

    Attributes:
        forward: computes y from the leaves.
        leaves: the tensors whose gradients are wanted, by name.
        cotangent: gradient of the objective with respect to y, of y's shape.
    """

    forward: Callable[[], Tensor]
    leaves: Mapping[str, Tensor]
    cotangent: Tensor

    def backward(self, y: Tensor) -> dict[str, Tensor]:
        """Return the gradient of every leaf."""
        gradients = torch.autograd.grad(y, list(self.leaves.values()), self.cotangent)
        return dict(zip(self.leaves, gradients, strict=True))

    def results(self) -> dict[str, Tensor]:
        """Return y and the gradient of every leaf."""
        y = self.forward()
        return {"y": y.detach(), **self.backward(y)}


class Case(Protocol):
    """A call that is checked and timed: one row of the table."""

    @property
    def name(self) -> str:
        """Short name, for instance ``"L1"``."""

    @property
    def title(self) -> str:
        """What it is, for instance ``"128→64 @8²"``."""

    @property
    def exact(self) -> bool:
        """Whether ``problem(integers=True)`` exists: inputs on which every sum is exact."""

    @property
    def gradient_slack(self) -> float:
        """Relative error of gradients that is no fault: what one flipped activation can do."""

    def flops(self, batch: int) -> float:
        """Floating-point operations of the forward pass, counted densely.

        A case may also have ``used_flops``: those whose results are not multiplied by padding.
        """

    def problem(
        self,
        batch: int,
        dtype: torch.dtype,
        *,
        integers: bool = False,
        values: torch.dtype = torch.float32,
    ) -> Problem:
        """Return the same problem each time it is asked for.

        Another ``dtype`` has the same values, as long as it can represent the dtype ``values``.
        """


@dataclass(frozen=True)
class Place:
    """Where a case stands in a sweep.

    Attributes:
        dimension: what is varied, for instance ``"C_in"``.
        value: what it is in this case, for instance ``"64"``.
        batch: samples per call, such that all calls make about the same number of operations.
        nearest: the case whose rate it is compared with, at the batch of the preset.
    """

    dimension: str
    value: str
    batch: int
    nearest: Case


@dataclass(frozen=True)
class Preset:
    """A set of cases.

    Attributes:
        description: what the shapes are taken from.
        batch: samples per call unless the user says otherwise.
        cases: the cases in the order they are shown.
        places: of a sweep, where each case stands in it, by its name.
    """

    description: str
    batch: int
    cases: tuple[Case, ...]
    places: Mapping[str, Place] = field(default_factory=dict)


@dataclass(frozen=True)
class Provider:
    """A way to compute the operator.

    Attributes:
        name: what the user calls it.
        active: makes a context manager inside which the operator's public function computes so.
        environment: variables that must be set before the process starts; a provider that has some
            is measured in a process of its own.
        has_memory: whether its peak memory can be told from that of what surrounds it (a compiler's
            cannot).
        choose: settles on a short trial what the provider runs, from the cases, the batch of the
            trial and the dtype; called in a process that has the environment. ``None`` where there
            is nothing to choose.
        note: what was chosen.
        dtype: dtype that it computes in; ``None`` for the one that is measured.

    Providers and cases are sent to other processes, so they must be picklable.
    """

    name: str
    active: Callable[[], contextlib.AbstractContextManager[None]]
    environment: Mapping[str, str] = field(default_factory=dict)
    has_memory: bool = True
    choose: "Callable[[Sequence[Case], int, torch.dtype], Provider] | None" = None
    note: str = ""
    dtype: torch.dtype | None = None


def draw(
    case: Case,
    batch: int,
    dtype: torch.dtype,
    values: torch.dtype = torch.float32,
    *,
    integers: bool = False,
) -> Problem:
    """Return the problem of a case in ``dtype``, with values that the dtype ``values`` has."""
    grid = {} if values in (torch.float32, torch.float64) else {"values": values}
    return case.problem(batch, dtype, integers=integers, **grid)


def used_flops(case: Case, batch: int) -> float:
    """Return the operations of the forward pass without those for taps on zero padding."""
    return getattr(case, "used_flops", case.flops)(batch)


@dataclass(frozen=True)
class Operator:
    """An operator's presets and providers, by name.

    Attributes:
        stem: the operator's stem.
        presets: the sets of cases.
        providers: the formulations that adaconv can be compared with.
        yardstick: name of the formulation whose error is the measure of an error.
        static: cases that together have every configuration of the operator's Triton kernels.
        suite: the presets that are measured with those of all operators, and the formulations that
            each is compared with beside the one that is asked for.
    """

    stem: str
    presets: Mapping[str, Preset]
    providers: Mapping[str, Provider]
    yardstick: str
    static: Sequence[Case] = ()
    suite: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def provider(self, name: str) -> Provider:
        """Return the formulation or the backend of that name."""
        return self.choices[closest(name, self.choices, f"provider of {self.stem}")]

    @property
    def choices(self) -> dict[str, Provider]:
        """The formulations, and adaconv on each of its backends."""
        backends = {name: adaconv_provider(name) for name in adaconv.backends()}
        return {**self.providers, **{name: replace(p, name=name) for name, p in backends.items()}}


def adaconv_provider(backend: str | None) -> Provider:
    """Return the provider under test: adaconv, on that backend or on the one it chooses."""
    if backend is not None:
        closest(backend, adaconv.backends(), "backend")
        return Provider(OURS, functools.partial(adaconv.backend, backend))
    return Provider(OURS, contextlib.nullcontext)


def operator(stem: str) -> Operator:
    """Return the operator with that stem.

    Raises:
        ValueError: there is none; the message names the nearest.
    """
    module = importlib.import_module(
        f"{operators.__name__}.{closest(stem, stems(), 'operator to benchmark')}"
    )
    static = getattr(module, "STATIC", ())
    suite = getattr(module, "SUITE", dict.fromkeys(module.PRESETS, ()))
    return Operator(stem, module.PRESETS, module.PROVIDERS, module.YARDSTICK, static, suite)


def stems() -> list[str]:
    """Return the stems of the operators that can be benchmarked."""
    return [module.name for module in pkgutil.iter_modules(operators.__path__)]


def closest(name: str, choices: Iterable[str], kind: str) -> str:
    """Return ``name`` if it is one of ``choices``.

    Raises:
        ValueError: it is not; the message gives the nearest match and all choices.

    Example:
        >>> closest("egaer", ["eager", "compile"], "provider")
        Traceback (most recent call last):
        ValueError: no provider is called 'egaer', did you mean 'eager'? There are: eager, compile
    """
    choices = list(choices)
    if name in choices:
        return name
    near = difflib.get_close_matches(name, choices, 1)
    hint = f", did you mean {near[0]!r}?" if near else "."
    raise ValueError(f"no {kind} is called {name!r}{hint} There are: {', '.join(choices)}")
