"""Precision and recall of distributions (PRD)."""

import torch
from torch import Tensor

from adaconv.eval._score import Score
from adaconv.eval.statistics import Statistics

CLUSTERS = 20
RUNS = 10
ITERATIONS = 20  # of k-means
ANGLES = 1001
#: F_β with this β weighs recall, with its inverse precision.
BETA = 8.0


def precision_recall(real: Statistics, fake: Statistics, seed: int = 0) -> list[Score]:
    """Return ``F_8`` (recall) and ``F_1/8`` (precision) of the curve of precision and recall.

    Equal numbers of real and generated features are clustered together, by k-means into 20
    clusters; P and Q are the shares of the clusters in either. For slopes λ > 0 precision and
    recall are ``α = Σ min(λ P, Q)``, ``β = α / λ``; ``F_b = (1 + b²) α β / (b² α + β)`` is the
    largest on the curve. Mean and deviation of ten clusterings of the kept features.

    Args:
        real: statistics of the real images.
        fake: of the generated images.
        seed: starts the clusterings.

    Source: Sajjadi et al., "Assessing Generative Models via Precision and Recall", 2018.
    """
    n = min(len(real.kept), len(fake.kept))
    points = torch.cat([real.kept[:n], fake.kept[:n]])
    generator = torch.Generator().manual_seed(seed)
    runs = []
    for _ in range(RUNS):
        cluster = k_means(points, CLUSTERS, generator)
        shares = [part.bincount(minlength=CLUSTERS).double() / n for part in cluster.split(n)]
        runs.append(f_scores(*shares))
    values = torch.tensor(runs, dtype=torch.float64)
    protocol = (
        f"mean and deviation of {RUNS} clusterings of the first {n} images of each "
        f"into {CLUSTERS} clusters"
    )
    return [
        Score(name, column.mean().item(), column.std().item(), RUNS, protocol)
        for name, column in zip(("PRD-F8", "PRD-F1/8"), values.T, strict=True)
    ]


def f_scores(p: Tensor, q: Tensor) -> tuple[float, float]:
    """Return F_8 and F_1/8 of two distributions over clusters, real and generated.

    >>> half = torch.tensor([0.5, 0.5])
    >>> f_scores(half, half)
    (1.0, 1.0)
    """
    edge = 1e-6
    angles = torch.linspace(edge, torch.pi / 2 - edge, ANGLES, dtype=torch.float64)
    slopes = angles.tan()
    precision = torch.minimum(slopes[:, None] * p, q).sum(1)
    recall = precision / slopes

    def best(beta: float) -> float:
        below = (beta**2 * precision + recall).clamp(min=1e-300)
        return ((1 + beta**2) * precision * recall / below).max().clamp(max=1).item()

    return best(BETA), best(1 / BETA)


def k_means(points: Tensor, clusters: int, generator: torch.Generator) -> Tensor:
    """Return the cluster of each point, int64 (N,): Lloyd's iterations from k-means++.

    Args:
        points: (N, d), at least as many as there are clusters.
        clusters: how many; some stay empty where points coincide.
        generator: draws the first centres.
    """
    centres = _first_centres(points, clusters, generator)
    cluster = _distances(points, centres).argmin(1)
    for _ in range(ITERATIONS):
        member = torch.nn.functional.one_hot(cluster, clusters).to(points.dtype)
        count = member.sum(0)[:, None]
        centres = torch.where(count > 0, member.T @ points / count.clamp(min=1), centres)
        before, cluster = cluster, _distances(points, centres).argmin(1)
        if torch.equal(before, cluster):
            break
    return cluster


def _first_centres(points: Tensor, clusters: int, generator: torch.Generator) -> Tensor:
    """Draw each centre with the square of its distance from those before it as probability."""
    chosen = torch.randint(len(points), (1,), generator=generator)
    distance = _distances(points, points[chosen])[:, 0].square()
    for _ in range(clusters - 1):
        chance = distance if distance.sum() > 0 else torch.ones_like(distance)
        new = chance.multinomial(1, generator=generator)
        distance = torch.minimum(distance, _distances(points, points[new])[:, 0].square())
        chosen = torch.cat([chosen, new])
    return points[chosen]


def _distances(points: Tensor, centres: Tensor) -> Tensor:
    """By a matrix product, which PyTorch leaves out for so few centres: several times as fast."""
    return torch.cdist(points, centres, compute_mode="use_mm_for_euclid_dist")
