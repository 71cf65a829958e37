"""The weights that adaptive convolution regresses are never in memory."""

import pytest
from memory import measure, needs_proc

FIRST = """
from adaconv import adaptive_conv2d
n, c, o, size = (int(a) for a in sys.argv[2:])
x, d = torch.randn(n, c, size, size), torch.randn(n, c, size, size)
gy = torch.randn(n, o, size, size)
P, q = torch.randn(o, c, 3, 3, c) * 0.1, torch.randn(o, c, 3, 3)

def step(images):
    given = [t.requires_grad_() for t in (x[:images], d[:images], P, q)]
    y = adaptive_conv2d(*given, padding=1, memory=sys.argv[1])
    return sum(t.numel() for t in (y, *torch.autograd.grad(y, given, gy[:images]))) * 4

above, outputs = peak(step, n)
weights = n * o * c * 9 * size * size * 4
signs = weights // 32 if sys.argv[1] == "mask" else 0
print(above - outputs - signs, weights)
"""

SECOND = """
from adaconv import adaptive_conv2d
n, c, o, size = 16, 32, 16, 32
x, d = torch.randn(n, c, size, size), torch.randn(n, c, size, size)
P, q = torch.randn(o, c, 3, 3, c) * 0.1, torch.randn(o, c, 3, 3)

def step(images):
    given = [t.requires_grad_() for t in (x[:images], d[:images], P, q)]
    y = adaptive_conv2d(*given, padding=1, backend=sys.argv[1])
    gx, gd = torch.autograd.grad(y.square().sum(), given[:2], create_graph=True)
    torch.autograd.grad(gx.square().sum() + gd.square().sum(), given)

print(peak(step, n)[0])
"""


@needs_proc
@pytest.mark.parametrize("memory", ["mask", "recompute"])
@pytest.mark.parametrize(
    "shape", [(64, 128, 64, 8), (64, 64, 32, 16), (64, 32, 16, 32), (64, 16, 3, 32)]
)
def test_weights_never_exist(cpu_backend, shape, memory):
    """Peak memory above inputs, outputs and saved bits: at most 5 % of one copy of the weights."""
    above, weights = measure(FIRST, memory, *shape)
    print(f"{above / 2**20:.1f} MiB above")
    assert above <= 0.05 * weights, f"{above / 2**20:.1f} MiB above, of {weights / 2**20:.1f} MiB"


@needs_proc
def test_second_derivatives_take_a_quarter_of_eager_memory(cpu_backend):
    """Those of a gradient penalty, at the shape of AdaGAN's third layer."""
    (ours,), (eager,) = measure(SECOND, cpu_backend), measure(SECOND, "reference")
    print(f"{ours / 2**20:.0f} MiB, eager {eager / 2**20:.0f} MiB")
    assert ours <= 0.25 * eager, f"{ours / 2**20:.0f} MiB, eager {eager / 2**20:.0f} MiB"
