"""Walks from one latent to another: do the samples in between look like data?"""

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from adaconv.explore.sheet import Row
from adaconv.models import GAN
from adaconv.nn._names import unknown
from adaconv.train import sample


def linear(start: Tensor, end: Tensor, count: int) -> Tensor:
    """``(1-t) a + t b`` for ``count`` values of t from 0 to 1: (L,), (L,) → (count, L).

    Raises:
        ValueError: the shapes do not fit, or there are fewer than two values.

    Source: Radford et al., "Unsupervised Representation Learning with Deep Convolutional Generative
    Adversarial Networks", 2016, section 6.1.

    Example:
        >>> linear(torch.tensor([0.0]), torch.tensor([1.0]), 3).flatten().tolist()
        [0.0, 0.5, 1.0]
    """
    t = _shares(start, end, count)
    return (1 - t) * start + t * end


def spherical(start: Tensor, end: Tensor, count: int) -> Tensor:
    """``(sin((1-t) ω) a + sin(t ω) b) / sin ω``, ω the angle between a and b: (count, L).

    The walk stays as far from 0 as its ends are, where nearly all latents from N(0, 1) lie; a
    straight line passes nearer to 0. Where a and b are parallel it is a straight line.

    Raises:
        ValueError: the shapes do not fit, or there are fewer than two values.

    Source: Shoemake, "Animating Rotation with Quaternion Curves", 1985; for GANs White, "Sampling
    Generative Networks", 2016, section 2.1.

    Example:
        >>> spherical(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]), 3).norm(dim=1).tolist()
        [1.0, 1.0, 1.0]
    """
    t = _shares(start, end, count)
    norms = start.norm() * end.norm()
    angle = torch.acos((start.dot(end) / norms.clamp(min=1e-12)).clamp(-1, 1))
    if angle.sin() < 1e-4:
        return linear(start, end, count)
    return (((1 - t) * angle).sin() * start + (t * angle).sin() * end) / angle.sin()


def _shares(start: Tensor, end: Tensor, count: int) -> Tensor:
    if start.dim() != 1 or start.shape != end.shape:
        raise ValueError(
            "both ends must be latents of one length, got shapes "
            f"{tuple(start.shape)} and {tuple(end.shape)}"
        )
    if count < 2:
        raise ValueError(f"a walk has two steps at least, its ends, got {count}")
    return torch.linspace(0, 1, count, dtype=start.dtype, device=start.device)[:, None]


#: name → latents from one end to the other
PATHS: dict[str, Callable[[Tensor, Tensor, int], Tensor]] = {
    "linear": linear,
    "spherical": spherical,
}


def interpolate(gan: GAN, latent: Tensor, path: str = "spherical", count: int = 10) -> list[Row]:
    """Walk from each latent to the next, a row for each walk.

    Args:
        gan: the model.
        latent: (N, L), N > 1.
        path: a key of :data:`PATHS`.
        count: images of a walk, its ends included.

    Raises:
        ValueError: no path has that name, or there are too few latents or images.
    """
    if path not in PATHS:
        raise ValueError(unknown("path", path, PATHS))
    if len(latent) < 2:
        raise ValueError(f"a walk needs two latents, got {len(latent)}")
    walks = [PATHS[path](a, b, count) for a, b in pairwise(latent)]
    images = sample(gan, torch.cat(walks)).split(count)
    return [Row(f"{path}, {i} to {i + 1}", strip) for i, strip in enumerate(images)]
