"""How many modes of a mixture samples reach, and how many samples reach any."""

from dataclasses import dataclass

import torch
from torch import Tensor

#: A sample is of high quality within so many standard deviations of a mode.
RADIUS = 3.0


@dataclass(frozen=True)
class Coverage:
    """What :func:`mode_coverage` finds."""

    counts: tuple[int, ...]
    """High-quality samples of each mode."""
    samples: int
    """All samples."""

    @property
    def modes(self) -> int:
        """Modes that have at least one high-quality sample."""
        return sum(count > 0 for count in self.counts)

    @property
    def quality(self) -> float:
        """Share of samples that are of high quality."""
        return sum(self.counts) / self.samples

    def __str__(self) -> str:
        return f"{self.modes} of {len(self.counts)} modes, {self.quality:.1%} of high quality"


def mode_coverage(points: Tensor, centers: Tensor, sigma: float) -> Coverage:
    """Count ``x`` with ``‖x - c‖ ≤ 3 σ``, where ``c`` is the center that is nearest to ``x``.

    A mode is hit if one such sample is its own; the share of such samples is their quality. Of the
    mixture itself 98.9 % are of high quality.

    Args:
        points: samples, (N, 2), N > 0.
        centers: means of the modes, (K, 2).
        sigma: their standard deviation.

    Raises:
        ValueError: the shapes do not fit, there are no points, or σ is not positive.

    Source: Srivastava et al., "VEEGAN", 2017, section 4.1, and Lin et al., "PacGAN", 2018,
    section 4.1, where 2500 samples are drawn.

    Example:
        >>> centers = torch.tensor([[0.0, 0.0], [1.0, 0.0]])
        >>> print(mode_coverage(torch.tensor([[0.1, 0.0], [0.5, 0.0]]), centers, sigma=0.1))
        1 of 2 modes, 50.0% of high quality
    """
    for name, values in (("points", points), ("centers", centers)):
        if values.dim() != 2 or values.shape[1] != 2 or len(values) == 0:
            raise ValueError(f"{name} must be (N, 2) with N > 0, got {tuple(values.shape)}")
    if not sigma > 0:
        raise ValueError(f"sigma must be positive, got {sigma!r}")
    # by differences: the product form that cdist may take is off by more than a small sigma
    distances = torch.linalg.vector_norm(points[:, None] - centers.to(points.device), dim=2)
    distance, nearest = distances.min(1)
    hits = torch.bincount(nearest[distance <= RADIUS * sigma], minlength=len(centers))
    return Coverage(tuple(hits.tolist()), len(points))
