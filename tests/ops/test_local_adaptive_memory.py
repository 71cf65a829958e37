"""The weights that local adaptive convolution interpolates are never in memory."""

from memory import measure, needs_proc

STEP = """
from adaconv import local_adaptive_conv2d
torch.set_num_threads(1)  # a thread's own share is small
n, c, o, size, pitch = (int(a) for a in sys.argv[1:])
x, d = torch.randn(n, c, size, size), torch.randn(n, c, size // pitch, size // pitch)
a, gy = torch.randn(n, 4, size, size), torch.randn(n, o, size, size)
P, q = torch.randn(o, c, 3, 3, c) * 0.1, torch.randn(o, c, 3, 3)

def step(images):
    given = [t.requires_grad_() for t in (x[:images], d[:images], P, q, a[:images])]
    y = local_adaptive_conv2d(*given, None, pitch, padding=1)
    return sum(t.numel() for t in (y, *torch.autograd.grad(y, given, gy[:images]))) * 4

above, outputs = peak(step, n)
weights = o * c * 9 * 4
pictures = n * (2 * c + 2 * o) * (size + 2) ** 2 * 4
print(above - outputs, pictures, n * (size // pitch) ** 2 * weights)
"""


@needs_proc
def test_weights_never_exist(cpu_backend):
    """Peak memory above inputs, outputs and pictures in the kernels' layout: that of some points.

    Not even the weights of all points of the grid exist together, and those of the pixels would
    be pitch² times as many.
    """
    above, pictures, weights = measure(STEP, 64, 64, 32, 16, 4)
    print(f"{above / 2**20:.1f} MiB above, {pictures / 2**20:.1f} pictures")
    bound = pictures + 24 * 2**20
    assert bound < weights
    assert above <= bound, f"{above / 2**20:.1f} MiB above, of {weights / 2**20:.1f} MiB"
