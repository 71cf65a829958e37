"""Distributions of points in the plane, on which the behaviour of a GAN can be seen."""

from collections.abc import Callable

import numpy as np
import torch

from adaconv.data._source import Request, source
from adaconv.data.datasets import PointData

#: Points in each split, and the seed that they are drawn with.
SPLITS = {"train": (100_000, 0), "test": (10_000, 1)}


@source(
    "toy2d:ring",
    "toy2d:grid",
    "toy2d:swiss",
    splits=tuple(SPLITS),
    labelled=("toy2d:ring", "toy2d:grid"),
)
def load(request: Request) -> PointData:
    """Draw the points of one distribution; they are the same at every call.

    ==========  ==================================================================  ===========
    ``ring``    8 Gaussians on a circle of radius 2, σ 0.02                         divided by √2
    ``grid``    25 Gaussians at {-4, -2, 0, 2, 4}², σ 0.05                          divided by 2√2
    ``swiss``   (t cos t, t sin t), t uniform in 1.5π..4.5π, plus noise of σ 0.25   divided by 7.5
    ==========  ==================================================================  ===========

    The divisors bring all three to about unit scale. Labels are the Gaussians' numbers.

    Source: the toy problems of Gulrajani et al., "Improved Training of Wasserstein GANs", 2017.
    """
    count, seed = SPLITS[request.split]
    draw = DISTRIBUTIONS[request.argument]
    points, labels, modes = draw(np.random.default_rng(seed), count)
    return PointData(
        name=request.spec,
        split=request.split,
        licence="none needed (generated)",
        values=torch.from_numpy(points.astype(np.float32)),
        labels=None if labels is None else torch.from_numpy(labels),
        classes=[str(mode) for mode in range(modes)],
    )


Draw = tuple[np.ndarray, np.ndarray | None, int]


def ring_centers() -> np.ndarray:
    """The means of ``ring`` before the division, (8, 2)."""
    angles = np.arange(8) * (2 * np.pi / 8)
    return 2 * np.stack([np.cos(angles), np.sin(angles)], 1)


def grid_centers() -> np.ndarray:
    """The means of ``grid`` before the division, (25, 2)."""
    axis = np.arange(-4.0, 5.0, 2.0)
    return np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)


def _mixture(rng: np.random.Generator, count: int, centers: np.ndarray, sigma: float) -> Draw:
    labels = rng.integers(len(centers), size=count)
    return centers[labels] + sigma * rng.standard_normal((count, 2)), labels, len(centers)


def _ring(rng: np.random.Generator, count: int) -> Draw:
    points, labels, modes = _mixture(rng, count, ring_centers(), 0.02)
    return points / np.sqrt(2), labels, modes


def _grid(rng: np.random.Generator, count: int) -> Draw:
    points, labels, modes = _mixture(rng, count, grid_centers(), 0.05)
    return points / np.sqrt(8), labels, modes


def _swiss(rng: np.random.Generator, count: int) -> Draw:
    t = 1.5 * np.pi * (1 + 2 * rng.random(count))
    spiral = np.stack([t * np.cos(t), t * np.sin(t)], 1)
    return (spiral + 0.25 * rng.standard_normal((count, 2))) / 7.5, None, 0


DISTRIBUTIONS: dict[str, Callable[[np.random.Generator, int], Draw]] = {
    "ring": _ring,
    "grid": _grid,
    "swiss": _swiss,
}
