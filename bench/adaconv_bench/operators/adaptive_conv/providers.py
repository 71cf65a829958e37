"""What adaconv is compared with: the formulas, eager and compiled."""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch

from adaconv_bench.operators.adaptive_conv.cases import Layer
from adaconv_bench.operators.adaptive_conv.formulas import FORMULAS, Chosen, Key, standing_in
from adaconv_bench.registry import Case, Provider
from adaconv_bench.trial import fastest

#: glibc keeps freed memory instead of returning it to the kernel, so that the temporaries of later
#: steps cause no page faults.
KEEP_HEAP = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(1 << 40),
    "MALLOC_TOP_PAD_": str(1 << 28),
}


def choose(
    provider: Provider, compiled: bool, cases: Sequence[Case], batch: int, dtype: torch.dtype
) -> Provider:
    """Return the provider with the formula that is the fastest at each layer of the cases.

    Each is tried at ``batch`` samples under the conditions of the provider: compiled or not, and
    in this process, whose environment is the provider's.
    """
    names: dict[Key, str] = {}
    notes = {}
    for layer in dict.fromkeys(layer for case in cases for layer in layers_of(case)):
        candidates = {
            name: Provider(name, functools.partial(standing_in, formula, compiled=compiled))
            for name, formula in FORMULAS.items()
        }
        notes[layer.name] = fastest(candidates, layer, batch, dtype)
        height, width = layer.picture
        key = dtype, layer.channels, layer.out_channels, height, width
        names[key] = notes[layer.name]
    return replace(
        provider,
        active=functools.partial(standing_in, Chosen(names), compiled=compiled),
        choose=None,
        note=", ".join(f"{layer} by {name}" for layer, name in notes.items()),
    )


def layers_of(case: Case) -> tuple[Layer, ...]:
    """Return the layers of the case that the formulas can compute."""
    layers = (case,) if isinstance(case, Layer) else getattr(case, "layers", ())
    return tuple(layer for layer in layers if layer.usual)


def _providers() -> Iterator[Provider]:
    for formula, suffix in [
        (Chosen(), ""),
        *((formula, f"-{name}") for name, formula in FORMULAS.items()),
    ]:
        eager = functools.partial(standing_in, formula)
        compiled = functools.partial(standing_in, formula, compiled=True)
        for provider, compiles in [
            (Provider(f"eager{suffix}", eager), False),
            (Provider(f"eager{suffix}-tuned", eager, environment=KEEP_HEAP), False),
            (Provider(f"compile{suffix}", compiled, has_memory=False), True),
        ]:
            if suffix:
                yield provider
            else:
                yield replace(provider, choose=functools.partial(choose, provider, compiles))


PROVIDERS = {provider.name: provider for provider in _providers()}
YARDSTICK = "eager"
