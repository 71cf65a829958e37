"""Reference of local adaptive convolution, and the geometry of its grid.

Output pixels are cut into cells of ``pitch`` x ``pitch``, from the top left on, and every cell has
a grid point ``+`` at its centre; cells at the bottom and the right may be cut off. With pitch 4::

    .   .   .   .  |  .   .   .   .
    .   .   .   .  |  .   .   .   .
          +        |        +
    .   .   o   o  |  o   o   .   .
    .   .   o   o  |  o   o   .   .
    ---------------+---------------
    .   .   o   o  |  o   o   .   .
    .   .   o   o  |  o   o   .   .
          +        |        +
    .   .   .   .  |  .   .   .   .
    .   .   .   .  |  .   .   .   .

- J = 4: the neighbours of a pixel are the two nearest points in each direction, the same for all
  ``o``. With an odd pitch, a pixel that lies on a line of points has that line and the next one
  below, or to the right.
- J = 9: those of a pixel's own cell and of the eight cells around it, the same for a whole cell.

Neighbours are numbered row by row. One that would lie beyond the grid is the nearest one within, so
pixels at the border have some points several times.
"""

import functools

import torch
import torch.nn.functional as F
from torch import Tensor

from adaconv.reference.adaptive_conv import apply, enlarge, regress

#: Numbers of neighbours that a pixel may have → how many of them lie in each direction.
SIDES = {4: 2, 9: 3}


def local_adaptive_conv2d(
    x: Tensor,
    d: Tensor,
    P: Tensor,
    q: Tensor | None,
    a: Tensor,
    b: Tensor | None,
    pitch: int,
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
    negative_slope: float,
    upsample: int,
) -> Tensor:
    """Regress weights at the points of a grid, mix them at every pixel, then apply them.

    ``w[n,o,c,t,p] = Σ_j a[n,j,p]·act(Σ_k P[o,c,t,k]·d[n,k,g_j(p)] + q[o,c,t])`` and
    ``y[n,o,p] = Σ_{c,t} w[n,o,c,t,p]·x[n,c,p+t] + b[n,o,p]``, with x enlarged ``upsample`` times;
    arguments as in :func:`adaconv.local_adaptive_conv2d`, checked there.
    """
    n, neighbours, oh, ow = a.shape
    weights = regress(d, P, q)
    weights = F.relu(weights) if negative_slope == 0 else F.leaky_relu(weights, negative_slope)
    grid = weights.view(n, *d.shape[2:], weights.shape[1])
    down, across = (nearest(size, pitch, SIDES[int(neighbours)], a) for size in (oh, ow))
    pairs = [(v, h) for v in down for h in across]
    terms = (a[:, j, ..., None] * grid[:, v][:, :, h] for j, (v, h) in enumerate(pairs))
    mixed = functools.reduce(torch.add, terms)
    y = apply(mixed, enlarge(x, upsample), a, P, stride, padding, dilation, groups)
    return y if b is None else y + b


def nearest(size: int, pitch: int, side: int, like: Tensor) -> tuple[Tensor, ...]:
    """Return, for each of the ``side`` neighbours in one direction, the pixels' grid points."""
    shift = pitch - pitch // 2 if side == 2 else 0
    first = (torch.arange(size, device=like.device) + shift) // pitch - 1
    last = points(size, pitch) - 1
    return tuple((first + i).clamp(0, last) for i in range(side))


def points(size: int, pitch: int) -> int:
    """Return how many grid points ``size`` pixels have in one direction."""
    return -(-size // pitch)
