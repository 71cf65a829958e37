"""The weights that separable adaptive convolution regresses are never in memory."""

from pathlib import Path

import pytest
from processes import run

MEMORY = """
import re, sys, torch
from adaconv import adaptive_separable_conv2d
torch.set_num_threads(2)
n, c, o, size = (int(a) for a in sys.argv[2:])
x, d = torch.randn(n, c, size, size), torch.randn(n, c, size, size)
gy = torch.randn(n, o, size, size)
P1, q1 = torch.randn(c, 3, 3, c) * 0.1, torch.randn(c, 3, 3)
P2, q2 = torch.randn(o, c, c) * 0.1, torch.randn(o, c)

def status(key):
    return int(re.search(key + r":\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024

def step(images):
    given = [t.requires_grad_() for t in (x[:images], d[:images], P1, q1, P2, q2)]
    y = adaptive_separable_conv2d(*given, padding=1, memory=sys.argv[1])
    return sum(t.numel() for t in (y, *torch.autograd.grad(y, given, gy[:images]))) * 4

step(1)
open("/proc/self/clear_refs", "w").write("5")
before = status("VmRSS")
outputs = step(n)
pixels = n * size * size
kept = pixels * (c * 4 + o * c // 8) if sys.argv[1] == "mask" else 0
print(status("VmHWM") - before - outputs - kept, pixels * (9 * c + o * c) * 4)
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize("memory", ["mask", "recompute"])
@pytest.mark.parametrize("shape", [(64, 128, 64, 8), (64, 64, 32, 16), (64, 32, 16, 32)])
def test_weights_never_exist(cpu_backend, shape, memory):
    """Peak memory above inputs, outputs and what is kept: that of one piece."""
    done = run("-c", MEMORY, memory, *map(str, shape), MALLOC_TRIM_THRESHOLD_="0")
    assert done.returncode == 0, done.stderr
    above, weights = map(int, done.stdout.split())
    print(f"{above / 2**20:.1f} MiB above, of {weights / 2**20:.1f} MiB")
    assert above <= 24 * 2**20, f"{above / 2**20:.1f} MiB above, of {weights / 2**20:.1f} MiB"
