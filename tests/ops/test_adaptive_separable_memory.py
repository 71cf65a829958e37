"""The weights that separable adaptive convolution regresses are never in memory."""

import pytest
from memory import measure, needs_proc

STEP = """
from adaconv import adaptive_separable_conv2d
n, c, o, size = (int(a) for a in sys.argv[2:])
x, d = torch.randn(n, c, size, size), torch.randn(n, c, size, size)
gy = torch.randn(n, o, size, size)
P1, q1 = torch.randn(c, 3, 3, c) * 0.1, torch.randn(c, 3, 3)
P2, q2 = torch.randn(o, c, c) * 0.1, torch.randn(o, c)

def step(images):
    given = [t.requires_grad_() for t in (x[:images], d[:images], P1, q1, P2, q2)]
    y = adaptive_separable_conv2d(*given, padding=1, memory=sys.argv[1])
    return sum(t.numel() for t in (y, *torch.autograd.grad(y, given, gy[:images]))) * 4

above, outputs = peak(step, n)
pixels = n * size * size
kept = pixels * (c * 4 + o * c // 8) if sys.argv[1] == "mask" else 0
print(above - outputs - kept, pixels * (9 * c + o * c) * 4)
"""


@needs_proc
@pytest.mark.parametrize("memory", ["mask", "recompute"])
@pytest.mark.parametrize("shape", [(64, 128, 64, 8), (64, 64, 32, 16), (64, 32, 16, 32)])
def test_weights_never_exist(cpu_backend, shape, memory):
    """Peak memory above inputs, outputs and what is kept: that of one piece."""
    above, weights = measure(STEP, memory, *shape)
    print(f"{above / 2**20:.1f} MiB above, of {weights / 2**20:.1f} MiB")
    assert above <= 24 * 2**20, f"{above / 2**20:.1f} MiB above, of {weights / 2**20:.1f} MiB"
