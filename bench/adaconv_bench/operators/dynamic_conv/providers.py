"""What adaconv is compared with: the formulas, eager and compiled."""

import functools
from collections.abc import Sequence
from dataclasses import replace

import torch

from adaconv_bench.operators.dynamic_conv.formulas import FORMULAS, Chosen, standing_in
from adaconv_bench.registry import Case, Provider
from adaconv_bench.trial import fastest


def choose(
    provider: Provider, compiled: bool, cases: Sequence[Case], batch: int, dtype: torch.dtype
) -> Provider:
    """Return the provider with the formula that is the fastest at each case."""
    candidates = {
        name: Provider(name, functools.partial(standing_in, name, compiled=compiled))
        for name in FORMULAS
    }
    notes = {case.name: fastest(candidates, case, batch, dtype) for case in cases}
    names = {
        (dtype, tuple(case.problem(1, dtype).leaves["w"].shape[1:])): notes[case.name]
        for case in cases
    }
    return replace(
        provider,
        active=functools.partial(standing_in, Chosen(names), compiled=compiled),
        choose=None,
        note=", ".join(f"{case} by {name}" for case, name in notes.items()),
    )


def _provider(name: str, compiled: bool) -> Provider:
    active = functools.partial(standing_in, Chosen(), compiled=compiled)
    provider = Provider(name, active, has_memory=not compiled)
    return replace(provider, choose=functools.partial(choose, provider, compiled))


PROVIDERS = {
    "eager": _provider("eager", False),
    "compile": _provider("compile", True),
    **{
        f"eager-{name}": Provider(f"eager-{name}", functools.partial(standing_in, name))
        for name in FORMULAS
    },
}
YARDSTICK = "eager"
