"""Distributions of points in the plane, on which the behaviour of a GAN can be seen."""

from dataclasses import dataclass

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
    rng = np.random.default_rng(seed)
    about = request.spec, request.split, "none needed (generated)"
    mixture = MIXTURES.get(request.argument)
    if mixture is None:
        return PointData(*about, _tensor(_swiss(rng, count)))
    points, labels = mixture.draw(rng, count)
    return PointData(
        *about,
        _tensor(points),
        labels=torch.from_numpy(labels),
        classes=[str(mode) for mode in range(len(mixture.centers))],
        centers=_tensor(mixture.centers / mixture.divisor),
        sigma=mixture.sigma / mixture.divisor,
    )


def _tensor(points: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(points.astype(np.float32))


def ring_centers() -> np.ndarray:
    """The means of ``ring`` before the division, (8, 2)."""
    angles = np.arange(8) * (2 * np.pi / 8)
    return 2 * np.stack([np.cos(angles), np.sin(angles)], 1)


def grid_centers() -> np.ndarray:
    """The means of ``grid`` before the division, (25, 2)."""
    axis = np.arange(-4.0, 5.0, 2.0)
    return np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)


@dataclass(frozen=True)
class Mixture:
    """Gaussians of one standard deviation around (K, 2) centers; all is divided in the end."""

    centers: np.ndarray
    sigma: float
    divisor: float

    def draw(self, rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Draw points (count, 2) and the number of each one's Gaussian."""
        labels = rng.integers(len(self.centers), size=count)
        points = self.centers[labels] + self.sigma * rng.standard_normal((count, 2))
        return points / self.divisor, labels


MIXTURES = {
    "ring": Mixture(ring_centers(), 0.02, 2**0.5),
    "grid": Mixture(grid_centers(), 0.05, 8**0.5),
}


def _swiss(rng: np.random.Generator, count: int) -> np.ndarray:
    t = 1.5 * np.pi * (1 + 2 * rng.random(count))
    spiral = np.stack([t * np.cos(t), t * np.sin(t)], 1)
    return (spiral + 0.25 * rng.standard_normal((count, 2))) / 7.5
