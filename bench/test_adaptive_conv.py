"""The registry's calls under pytest-benchmark: ``pytest bench/ --benchmark-only``.

The environment variable ``ADACONV_BENCH_PRESET`` names the preset, ``quick`` unless it is set.
"""

import functools
import os

import pytest
import torch
from adaconv_bench.gate import Gate, Verdict
from adaconv_bench.registry import Case, adaconv_provider, operator

OPERATOR = operator("adaptive_conv")
PRESET = OPERATOR.presets[os.environ.get("ADACONV_BENCH_PRESET", "quick")]
PROVIDERS = {p.name: p for p in (adaconv_provider(None), OPERATOR.provider("eager"))}

everything = pytest.mark.parametrize(
    ("case", "provider"),
    [pytest.param(c, name, id=f"{c.name}-{name}") for c in PRESET.cases for name in PROVIDERS],
)


@functools.cache
def gate(case: Case) -> Gate:
    """Return the gate of a case; what it compares with is computed once for all providers."""
    return Gate(case, OPERATOR.provider(OPERATOR.yardstick))


@functools.cache
def verdict(case: Case, provider: str) -> Verdict:
    """Return whether a provider computes a case right."""
    return gate(case).check(PROVIDERS[provider])


@everything
def test_forward(benchmark, case: Case, provider: str) -> None:
    """Time the forward pass of a training step."""
    assert verdict(case, provider).green, str(verdict(case, provider))
    benchmark.group = f"{case.name} {case.title}, forward"
    problem = case.problem(PRESET.batch, torch.float32)
    with PROVIDERS[provider].active():
        benchmark(problem.forward)


@everything
def test_forward_and_backward(benchmark, case: Case, provider: str) -> None:
    """Time the forward pass and the gradients of all leaves."""
    assert verdict(case, provider).green, str(verdict(case, provider))
    benchmark.group = f"{case.name} {case.title}, forward+backward"
    problem = case.problem(PRESET.batch, torch.float32)
    with PROVIDERS[provider].active():
        benchmark(problem.results)
