"""Every instruction set in a process of its own; the sharpness of the tests.

An operator whose sums are exact on small integers has two files here: ``test_STEM_exact.py``, and
``STEM_cases.py`` with the ``OUTPUTS`` that ``--perturb`` can falsify.
"""

import importlib

import pytest
from processes import HERE, run

import adaconv.cpu as cpu

EXACT = {path.name[5:-9]: str(path) for path in sorted(HERE.glob("test_*_exact.py"))}
OUTPUTS = [
    (stem, output) for stem in EXACT for output in importlib.import_module(f"{stem}_cases").OUTPUTS
]


@pytest.mark.parametrize("variant", ["amx", "avx512bf16", "avx512", "avx2", "baseline"])
def test_exact_on_every_instruction_set(cpu_backend, variant):
    if variant not in cpu.variants():
        pytest.skip(f"this CPU or build has no {variant}")
    poison = {"ADACONV_CPU": variant, "ADACONV_POISON": "1"}
    done = run("-m", "pytest", "-p", "no:cacheprovider", *EXACT.values(), **poison)
    assert done.returncode == 0, done.stdout
    assert "passed" in done.stdout
    assert "skipped" not in done.stdout
    code = "import adaconv.cpu as cpu; print(cpu.variant())"
    assert run("-c", code, ADACONV_CPU=variant).stdout.strip() == variant


def test_unknown_instruction_set_is_reported():
    code = "import adaconv.cpu as cpu; print(cpu.unavailable)"
    reason = run("-c", code, ADACONV_CPU="mmx").stdout
    if "No module named" in reason:
        pytest.skip(reason.strip())
    assert "ADACONV_CPU=mmx: no such variant; this build has:" in reason


@pytest.mark.parametrize(("stem", "output"), OUTPUTS)
def test_one_percent_is_noticed(cpu_backend, stem, output):
    """Falsify an output of the kernel: the comparison with the reference must fail."""
    options = ("-x", "-p", "no:cacheprovider", f"--perturb={stem}.{output}")
    done = run("-m", "pytest", *options, EXACT[stem])
    assert done.returncode == 1, done.stdout
    assert "1 failed" in done.stdout
