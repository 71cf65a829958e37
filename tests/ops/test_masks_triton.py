"""No mask of the Triton kernels is idle: without it, they leave their memory or are wrong."""

import functools
from unittest import mock

import adaconv_kernels
import pytest
import torch
from adaptive_conv_cases import Case, results
from triton_memory import BoundsError, bounded, mutants

pytestmark = [
    pytest.mark.usefixtures("poisoned", "triton_device"),
    pytest.mark.skipif(not adaconv_kernels.INTERPRETED, reason="a GPU checks no bounds"),
]

#: Few pixels, since the interpreter takes milliseconds a step, and all that tiles have: a border,
#: steps over pixels of either picture, groups; several blocks of features and tiles of outputs.
CASES = (
    Case(
        batch=1, size=(3, 2), channels=1, outputs=3, kernel_size=(2, 2), features=5,
        options={"padding": (1, 1), "stride": (2, 2), "upsample": 2, "negative_slope": 0.5},
    ),
    Case(
        batch=1, size=(3, 2), channels=1, outputs=3, kernel_size=(2, 2), features=5, groups=2,
        options={},
    ),
    Case(
        batch=1, size=(1, 3), channels=1, outputs=130, kernel_size=(1, 1), features=140,
        options={"padding": (1, 0)},
    ),
)  # fmt: skip

MUTANTS = mutants("adaptive_conv_kernels.py", "_products.py")


def integers(*shape):
    return torch.randint(-2, 3, shape, generator=torch.Generator().manual_seed(len(shape)))


@functools.cache
def expected(index):
    return results(CASES[index], CASES[index].tensors(integers), torch.ones_like, "reference")


def check():
    """Compute all cases as the specification does, within the bounds of their memory."""
    from adaconv_kernels import _products

    for i, case in enumerate(CASES):
        check_case(i, case)
    # The interpreter need not split float32, but can: its numbers of float16 are as exact.
    with mock.patch.object(_products, "INTERPRETED", False):
        check_case(0, CASES[0])


def check_case(index, case):
    single = [None if t is None else t.float() for t in case.tensors(integers)]
    with bounded():
        found = results(case, single, torch.ones_like, "triton")
    for got, want in zip(found, expected(index), strict=True):
        torch.testing.assert_close(got, want.float(), rtol=0, atol=0)


def test_kernels_keep_to_their_memory():
    check()


@pytest.mark.parametrize("mutant", MUTANTS, ids=str)
def test_every_mask_is_needed(mutant, tmp_path):
    from triton.runtime.errors import InterpreterError

    with mutant.active(tmp_path), pytest.raises((AssertionError, InterpreterError)) as raised:
        check()
    if isinstance(raised.value, InterpreterError):
        assert BoundsError.__name__ in str(raised.value)
