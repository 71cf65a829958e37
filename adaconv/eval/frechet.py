"""The Fréchet distance of features (FID)."""

import math

import torch
from torch import Tensor, nn

from adaconv.eval._score import Score
from adaconv.eval.statistics import Statistics

#: Parts of the generated images, each of which is left out once to see how the distance varies.
FOLDS = 10


def frechet(real: Statistics, fake: Statistics, seed: int = 0) -> list[Score]:
    """Return ``|μ - ν|² + tr(A + B - 2 (A B)^½)`` of means μ, ν (d) and covariances A, B (d, d).

    The value is torchmetrics'. Its standard deviation is the jackknife's: each of the G folds of
    the generated images is left out in turn, ``((G - 1) / G · Σ (FID_g - mean)²)^½``.

    Args:
        real: statistics of the real images.
        fake: of the generated images.
        seed: without effect; nothing is drawn.

    Source: Heusel et al., "GANs Trained by a Two Time-Scale Update Rule", 2017.
    """
    folds = len(fake.counts)
    std = None
    if folds > 1:
        parts = torch.tensor([_distance(real, fake, left_out=g) for g in range(folds)])
        std = math.sqrt((folds - 1) * parts.var(correction=0).item())
    protocol = f"jackknife over {folds} parts of the generated images"
    return [Score("FID", _distance(real, fake), std, folds, protocol, _notes(real, fake))]


def _notes(real: Statistics, fake: Statistics) -> tuple[str, ...]:
    n, d = min(real.n, fake.n), real.num_features
    if n > d:
        return ()
    return (
        f"{n} images for {d} features: the covariance is singular and FID far too high; it can be "
        f"compared at these n alone, and with the floor",
    )


def _distance(real: Statistics, fake: Statistics, left_out: int | None = None) -> float:
    from torchmetrics.image.fid import FrechetInceptionDistance

    metric = FrechetInceptionDistance(Given(real.num_features))
    for statistics, name in ((real, "real"), (fake, "fake")):
        # no image: the metric learns the type of the features
        metric.update(statistics.sums.new_empty(0, real.num_features), real=name == "real")
        fold = left_out if name == "fake" else None
        setattr(metric, f"{name}_features_num_samples", _total(statistics.counts, fold))
        setattr(metric, f"{name}_features_sum", _total(statistics.sums, fold))
        setattr(metric, f"{name}_features_cov_sum", _total(statistics.products, fold))
    return metric.compute().item()


def _total(parts: Tensor, left_out: int | None) -> Tensor:
    return parts.sum(0) if left_out is None else parts.sum(0) - parts[left_out]


class Given(nn.Module):
    """The feature network of torchmetrics, where the features are there already."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, features: Tensor) -> Tensor:
        """Return what it is given."""
        return features
