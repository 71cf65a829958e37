"""No mask of the Triton kernels is idle: without it, they leave their memory or are wrong."""

import functools
import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import ModuleType
from unittest import mock

import adaconv_kernels
import adaptive_conv_cases
import local_adaptive_cases
import pytest
import torch
from triton_memory import BoundsError, Mutant, bounded, mutants

pytestmark = [
    pytest.mark.usefixtures("poisoned", "triton_device"),
    pytest.mark.skipif(not adaconv_kernels.INTERPRETED, reason="a GPU checks no bounds"),
]


@dataclass(frozen=True)
class Operator:
    """An operator whose kernels are held to their memory.

    Few pixels, since the interpreter takes milliseconds a step, and all that tiles have: a border,
    steps over pixels of either picture, groups; several blocks of features and tiles of outputs.

    Attributes:
        module: the one that its cases come from.
        cases: calls, the quickest to notice first.
        files: those of its kernels whose masks are removed.
        split: place of the case that is computed in numbers of float16 as well.
        settings: what stands otherwise in the module of its launches.
        spoiled: place of the case that is computed with values that are not finite as well.
    """

    module: ModuleType
    cases: tuple
    files: tuple[str, ...]
    split: int = 0
    settings: Mapping[str, int] = field(default_factory=dict)
    spoiled: int | None = None


Case, Local = adaptive_conv_cases.Case, local_adaptive_cases.Case
OPERATORS = {
    "adaptive_conv": Operator(
        adaptive_conv_cases,
        (
            Case(
                batch=1, size=(3, 2), channels=1, outputs=3, kernel_size=(2, 2), features=5,
                options={
                    "padding": (1, 1), "stride": (2, 2), "upsample": 2, "negative_slope": 0.5,
                },
            ),
            Case(
                batch=1, size=(3, 2), channels=1, outputs=3, kernel_size=(2, 2), features=5,
                groups=2, options={},
            ),
            Case(
                batch=1, size=(1, 3), channels=1, outputs=130, kernel_size=(1, 1), features=140,
                options={"padding": (1, 0)},
            ),
        ),
        ("adaptive_conv_kernels.py", "_products.py"),
    ),
    "local_adaptive": Operator(
        local_adaptive_cases,
        (
            Local(1, 1, 2, (1, 2), (1, 1), 70, groups=2, pitch=2),
            Local(
                2, 1, 3, (2, 2), (2, 2), 3, pitch=2, with_b=False,
                options={"padding": 1, "stride": 2, "upsample": 2, "negative_slope": 0.5},
            ),
            Local(1, 1, 1, (8, 1), (2, 1), 1, pitch=2, options={"negative_slope": 0.5}),
            Local(1, 1, 1, (1, 8), (1, 2), 1, pitch=2),
        ),
        (),
        settings={"CHUNK_BYTES": 700, "LEAST_POINTS": 3},
        spoiled=2,
    ),
}  # fmt: skip

MUTANTS = [(stem, mutant) for stem, one in OPERATORS.items() for mutant in mutants(*one.files)]


def integers(*shape):
    return torch.randint(-2, 3, shape, generator=torch.Generator().manual_seed(len(shape)))


def results(stem, index, dtype, backend, spoiled):
    """Return y and the gradients; where ``spoiled``, of an x and a gy that are not finite."""
    operator = OPERATORS[stem]
    tensors = operator.cases[index].tensors(integers, dtype)

    def gy_of(y):
        return spoil(torch.ones_like(y))

    def spoil(tensor):
        if spoiled:
            tensor[0, 0, tensor.shape[2] // 2, 0] = float("nan")
        return tensor

    spoil(tensors[0])
    return operator.module.results(operator.cases[index], tensors, gy_of, backend)


@functools.cache
def expected(stem, index, spoiled):
    return results(stem, index, torch.float64, "reference", spoiled)


def check(stem):
    """Compute all cases as the specification does, within the bounds of their memory."""
    from adaconv_kernels import _products

    operator = OPERATORS[stem]
    launches = importlib.import_module(f"adaconv_kernels.{stem}")
    with mock.patch.dict(vars(launches), operator.settings):
        for index in range(len(operator.cases)):
            check_case(stem, index)
        # The interpreter need not split float32, but can: its numbers of float16 are as exact.
        with mock.patch.object(_products, "INTERPRETED", False):
            check_case(stem, operator.split)
        if operator.spoiled is not None:
            check_case(stem, operator.spoiled, spoiled=True)


def check_case(stem, index, spoiled=False):
    with bounded():
        found = results(stem, index, torch.float32, "triton", spoiled)
    for got, want in zip(found, expected(stem, index, spoiled), strict=True):
        torch.testing.assert_close(got, want.float(), rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("stem", OPERATORS)
def test_kernels_keep_to_their_memory(stem):
    check(stem)


@pytest.mark.parametrize(("stem", "mutant"), MUTANTS, ids=str)
def test_every_mask_is_needed(stem, mutant: Mutant, tmp_path):
    from triton.runtime.errors import InterpreterError

    with mutant.active(tmp_path), pytest.raises((AssertionError, InterpreterError)) as raised:
        check(stem)
    if isinstance(raised.value, InterpreterError):
        assert BoundsError.__name__ in str(raised.value)
