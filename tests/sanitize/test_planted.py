"""Builds with sanitizers report bugs that are there on purpose, and nothing else."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import adaconv.cpu as cpu

SANITIZERS = getattr(cpu._C, "sanitizers", "")
REPORTS = {
    "read_past_allocation": "AddressSanitizer: heap-buffer-overflow",
    "write_past_piece": "AddressSanitizer: use-after-poison",
    "use_piece_of_another_task": "AddressSanitizer: use-after-poison",
    "take_more_than_there_is": "AddressSanitizer: heap-buffer-overflow",
    "overflow_an_integer": "runtime error: signed integer overflow",
    "shift_too_far": "runtime error: shift exponent 40 is too large",
    "add_to_one_gradient": "ThreadSanitizer: data race",
    "read_before_it_is_written": "ThreadSanitizer: data race",
}
needs_sanitizers = pytest.mark.skipif(not SANITIZERS, reason="a build without sanitizers")


def plant(name):
    """Commit the bug in a process of its own, whose reports go to its standard error."""
    options = {
        f"{tool}_OPTIONS": os.environ.get(f"{tool}_OPTIONS", "") + ":log_path=stderr"
        for tool in ("ASAN", "UBSAN", "TSAN")
    }
    code = f"import adaconv.cpu as cpu; print(cpu._C.plant({name!r}))"
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parent,
        env={**os.environ, **options},
        capture_output=True,
        text=True,
    )


@pytest.mark.skipif("ADACONV_SANITIZE" not in os.environ, reason="any build will do")
def test_the_build_is_the_one_asked_for():
    assert os.environ["ADACONV_SANITIZE"] == SANITIZERS


@needs_sanitizers
@pytest.mark.parametrize("name", REPORTS)
def test_bug_is_reported(name):
    if name not in cpu._C.planted_bugs():
        pytest.skip(f"not for the sanitizers of this build, {SANITIZERS}")
    done = plant(name)
    assert done.returncode != 0
    assert REPORTS[name] in done.stderr


@needs_sanitizers
def test_every_bug_is_tested():
    assert set(cpu._C.planted_bugs()) <= set(REPORTS)


@needs_sanitizers
def test_correct_code_is_not_reported():
    done = plant("none")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "28.0"
    assert "Sanitizer" not in done.stderr
