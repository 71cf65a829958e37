"""No mask of the Triton kernels is idle: without it, they leave their memory or are wrong."""

import adaconv_kernels
import pytest
from triton_cases import OPERATORS, check, small
from triton_memory import BoundsError, Mutant, mutants

pytestmark = [
    pytest.mark.usefixtures("poisoned", "triton_device"),
    pytest.mark.skipif(not adaconv_kernels.INTERPRETED, reason="a GPU checks no bounds"),
]

MUTANTS = [(stem, mutant) for stem, one in OPERATORS.items() for mutant in mutants(*one.files)]

#: Without ``--every-mask``, one in so many is left out: of each kernel some.
STEP = 3


def pytest_generate_tests(metafunc):
    if "mutant" in metafunc.fixturenames:
        step = 1 if metafunc.config.getoption("every_mask") else STEP
        metafunc.parametrize(("stem", "mutant"), MUTANTS[::step], ids=str)


@pytest.mark.parametrize("stem", OPERATORS)
def test_kernels_keep_to_their_memory(stem):
    check(stem, small)


def test_every_mask_is_needed(stem, mutant: Mutant, tmp_path):
    from triton.runtime.errors import InterpreterError

    with mutant.active(tmp_path), pytest.raises((AssertionError, InterpreterError)) as raised:
        check(stem, small)
    if isinstance(raised.value, InterpreterError):
        assert BoundsError.__name__ in str(raised.value)
