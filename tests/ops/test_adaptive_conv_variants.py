"""Every instruction set in a process of its own; memory; the sharpness of the tests."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import adaconv.cpu as cpu

HERE = Path(__file__).parent
EXACT = str(HERE / "test_adaptive_conv_exact.py")

MEMORY = """
import re, sys, torch
from adaconv import adaptive_conv2d
torch.set_num_threads(2)
n, c, o, size = (int(a) for a in sys.argv[2:])
x, d = torch.randn(n, c, size, size), torch.randn(n, c, size, size)
gy = torch.randn(n, o, size, size)
P, q = torch.randn(o, c, 3, 3, c) * 0.1, torch.randn(o, c, 3, 3)

def status(key):
    return int(re.search(key + r":\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024

def step(images):
    given = [t.requires_grad_() for t in (x[:images], d[:images], P, q)]
    y = adaptive_conv2d(*given, padding=1, memory=sys.argv[1])
    return sum(t.numel() for t in (y, *torch.autograd.grad(y, given, gy[:images]))) * 4

step(1)
open("/proc/self/clear_refs", "w").write("5")
before = status("VmRSS")
outputs = step(n)
weights = n * o * c * 9 * size * size * 4
signs = weights // 32 if sys.argv[1] == "mask" else 0
print(status("VmHWM") - before - outputs - signs, weights)
"""


def run(*command, **environment):
    """Run Python where no source tree hides the installed package."""
    return subprocess.run(
        [sys.executable, *command],
        cwd=HERE,
        env={**os.environ, "OMP_NUM_THREADS": "2", **environment},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("variant", ["amx", "avx512bf16", "avx512", "avx2", "baseline"])
def test_exact_on_every_instruction_set(cpu_backend, variant):
    if variant not in cpu.variants():
        pytest.skip(f"this CPU or build has no {variant}")
    done = run(
        "-m", "pytest", "-p", "no:cacheprovider", EXACT, ADACONV_CPU=variant, ADACONV_POISON="1"
    )
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


@pytest.mark.parametrize("output", ["y", "gx", "gd", "gP", "gq"])
def test_one_percent_is_noticed(cpu_backend, output):
    """Falsify an output of the kernel: the comparison with the reference must fail."""
    done = run("-m", "pytest", "-x", "-p", "no:cacheprovider", f"--perturb={output}", EXACT)
    assert done.returncode == 1, done.stdout
    assert "1 failed" in done.stdout


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize("memory", ["mask", "recompute"])
@pytest.mark.parametrize(
    "shape", [(64, 128, 64, 8), (64, 64, 32, 16), (64, 32, 16, 32), (64, 16, 3, 32)]
)
def test_weights_never_exist(cpu_backend, shape, memory):
    """Peak memory above inputs, outputs and saved bits: at most 5 % of one copy of the weights."""
    done = run("-c", MEMORY, memory, *map(str, shape), MALLOC_TRIM_THRESHOLD_="0")
    assert done.returncode == 0, done.stderr
    above, weights = map(int, done.stdout.split())
    print(f"{above / 2**20:.1f} MiB above")
    assert above <= 0.05 * weights, f"{above / 2**20:.1f} MiB above, of {weights / 2**20:.1f} MiB"
