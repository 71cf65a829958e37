"""Formulas in plain PyTorch in the place of an operator, and the choice of the fastest."""

import contextlib
import functools
import importlib
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

import adaconv
from adaconv_bench.registry import Case, Provider, draw
from adaconv_bench.trial import fastest

#: Computes an operator; takes the arguments of its specification.
Formula = Callable[..., Any]

#: glibc keeps freed memory instead of returning it to the kernel, so that the temporaries of later
#: steps cause no page faults.
KEEP_HEAP = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(1 << 40),
    "MALLOC_TOP_PAD_": str(1 << 28),
}

#: The providers of formulas: whether they are compiled, and the environment, by how their names
#: begin and end.
KINDS: dict[tuple[str, str], tuple[bool, dict[str, str]]] = {
    ("eager", ""): (False, {}),
    ("eager", "-tuned"): (False, KEEP_HEAP),
    ("compile", ""): (True, {}),
}


@contextlib.contextmanager
def standing_in(specification: str, formula: Formula) -> Iterator[Formula]:
    """Compute an operator by a formula, wherever it is called; give the specification.

    The formula takes the place of the reference backend, so that layers and whole networks run it
    through the same public function, with the same checks, as every other provider.

    Args:
        specification: name of the operator's module and function in :mod:`adaconv.reference`.
        formula: what computes it.
    """
    stem, function = specification.split(".")
    module = importlib.import_module(f"adaconv.reference.{stem}")
    original = getattr(module, function)
    setattr(module, function, formula)
    try:
        with adaconv.backend("reference"):
            yield original
    finally:
        setattr(module, function, original)


def check_usual(
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    upsample: int,
) -> None:
    """Raise a ValueError where a call is not of the one geometry that most formulas compute."""
    geometry = tuple(kernel), tuple(stride), tuple(padding), tuple(dilation)
    if geometry != ((3, 3), (1, 1), (1, 1), (1, 1)) or (groups, upsample) != (1, 1):
        raise ValueError(f"the baselines compute 3x3 kernels with padding 1, got {geometry}")


@functools.cache
def compiled(formula: Formula) -> Formula:
    """Return a formula compiled anew for each shape, as someone who trains at one shape has it."""
    # Beyond the default limit of 8 shapes torch.compile would silently run eagerly.
    torch._dynamo.config.recompile_limit = 64
    return torch.compile(formula, dynamic=False)


@dataclass(frozen=True)
class Formulas:
    """The formulas of one operator.

    Attributes:
        specification: as of :func:`standing_in`.
        named: the formulas, by name.
        otherwise: computes calls that were not on trial, where formulas are chosen at all.
        key: what identifies a call to the choice of its formula, whatever its batch; takes the
            arguments of the specification.
    """

    specification: str
    named: Mapping[str, Formula]
    otherwise: Formula | None = None
    key: Callable[..., Hashable] | None = None

    def standing_in(
        self, names: str | Mapping[Hashable, str], *, compiles: bool = False
    ) -> contextlib.AbstractContextManager[None]:
        """Compute the operator by the formula of a name, or of the name that each key has."""
        ready = compiled if compiles else lambda formula: formula

        def compute(*arguments: Any) -> Any:
            name = names if isinstance(names, str) else names.get(self.key(*arguments))
            return ready(self.otherwise if name is None else self.named[name])(*arguments)

        return standing_in(self.specification, compute)

    def key_of(self, case: Case, dtype: torch.dtype) -> Hashable:
        """Return the key of the one call that a case makes."""
        found = []

        def record(*arguments: Any) -> Any:
            found.append(self.key(*arguments))
            return original(*arguments)

        with standing_in(self.specification, record) as original:
            draw(case, 1, dtype, dtype).forward()
        (key,) = found
        return key

    def choose(
        self,
        provider: Provider,
        compiles: bool,
        cases: Sequence[Case],
        batch: int,
        dtype: torch.dtype,
    ) -> Provider:
        """Return the provider with the formula that is the fastest at each layer of the cases.

        Each is tried at ``batch`` samples under the conditions of the provider: compiled or not,
        and in this process, whose environment is the provider's.
        """
        candidates = {name: self.provider(name, name, compiles=compiles) for name in self.named}
        layers = dict.fromkeys(layer for case in cases for layer in getattr(case, "layers", [case]))
        usual = [layer for layer in layers if getattr(layer, "usual", True)]
        names, notes = {}, {}
        for layer in usual:
            best = fastest(candidates, layer, batch, dtype)
            names[self.key_of(layer, dtype)] = notes[layer.name] = best
        return replace(
            provider,
            active=functools.partial(self.standing_in, names, compiles=compiles),
            choose=None,
            note=", ".join(f"{layer} by {name}" for layer, name in notes.items()),
        )

    def providers(self) -> dict[str, Provider]:
        """Return a provider of each kind that chooses, and one for each formula, by name."""
        found = []
        for (kind, suffix), (compiles, environment) in KINDS.items():
            options = {"compiles": compiles, "environment": environment}
            best = self.provider(f"{kind}{suffix}", {}, **options)
            found.append(replace(best, choose=functools.partial(self.choose, best, compiles)))
            for name in self.named:
                found.append(self.provider(f"{kind}-{name}{suffix}", name, **options))
        return {provider.name: provider for provider in found}

    def provider(
        self,
        name: str,
        names: str | Mapping[Hashable, str],
        *,
        compiles: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> Provider:
        """Return a provider of that name; ``names`` as of :meth:`standing_in`."""
        active = functools.partial(self.standing_in, names, compiles=compiles)
        return Provider(name, active, environment or {}, has_memory=not compiles)
