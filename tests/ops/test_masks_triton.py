"""No mask of the Triton kernels is idle: without it, they leave their memory or are wrong."""

import contextlib
import functools
import importlib
from unittest import mock

import adaconv_kernels
import pytest
import torch
from conv_contract import results as results_of
from masked_cases import OPERATORS, integers
from triton_memory import BoundsError, Mutant, bounded, mutants

pytestmark = [
    pytest.mark.usefixtures("poisoned", "triton_device"),
    pytest.mark.skipif(not adaconv_kernels.INTERPRETED, reason="a GPU checks no bounds"),
]

MUTANTS = [(stem, mutant) for stem, one in OPERATORS.items() for mutant in mutants(*one.files)]


def results(stem, index, dtype, backend, spoiled):
    """Return y and the gradients; where ``spoiled``, of an x and a gy that are not finite."""
    case = OPERATORS[stem].cases[index]
    tensors = [None if t is None else t.to(dtype) for t in case.tensors(integers)]

    def gy_of(y):
        return spoil(torch.ones_like(y))

    def spoil(tensor):
        if spoiled:
            tensor[0, 0, tensor.shape[2] // 2, 0] = float("nan")
        return tensor

    spoil(tensors[0])
    return results_of(case, tensors, gy_of, backend)


@functools.cache
def expected(stem, index, spoiled):
    return results(stem, index, torch.float64, "reference", spoiled)


@contextlib.contextmanager
def cut(stem, configured):
    """Let the operator's kernels be cut by what the function makes of their configurations."""
    from adaconv_kernels import _tuning

    launches = importlib.import_module(f"adaconv_kernels.{stem}")
    with (
        mock.patch.dict(vars(launches), OPERATORS[stem].settings),
        mock.patch.object(_tuning, "choose", lambda kernel, _, all, *more: configured(kernel, all)),
    ):
        yield


def small(kernel, configs):
    """Return a configuration of small tiles."""
    file = kernel.fn.__module__.rpartition(".")[2] + ".py"
    tile = next(one.tile for one in OPERATORS.values() if file in one.files)
    given = configs[0] if isinstance(configs[0], dict) else configs[0]._asdict()
    return type(configs[0])(**given | {name: tile[name] for name in given.keys() & tile})


def check(stem):
    """Compute all cases as the specification does, within the bounds of their memory."""
    from adaconv_kernels import _products

    with cut(stem, small):
        for index in range(len(OPERATORS[stem].cases)):
            check_case(stem, index)
        # The interpreter need not split float32, but can: its numbers of float16 are as exact.
        with mock.patch.object(_products, "INTERPRETED", False):
            for index in OPERATORS[stem].split:
                check_case(stem, index, spoiled=True)


def check_case(stem, index, spoiled=False):
    with bounded():
        found = results(stem, index, torch.float32, "triton", spoiled)
    for got, want in zip(found, expected(stem, index, spoiled), strict=True):
        torch.testing.assert_close(got, want.float(), rtol=1e-5, atol=1e-5, equal_nan=True)


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
