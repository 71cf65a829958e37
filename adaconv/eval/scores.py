"""The metrics by name."""

from collections.abc import Callable
from dataclasses import dataclass

from adaconv.eval import frechet, inception_score, kernel, precision_recall
from adaconv.eval._score import Score
from adaconv.eval.statistics import GROUPS, Statistics
from adaconv.nn._names import unknown


@dataclass(frozen=True)
class Metric:
    """A function of the statistics of real and generated images and a seed.

    Attributes:
        compute: returns the scores, of which there may be several.
        least: images of each set that it needs at least.
        reason: why.
        compares: whether the real images make a difference.
    """

    compute: Callable[[Statistics, Statistics, int], list[Score]]
    least: int
    reason: str
    compares: bool = True

    def check(self, name: str, n: int) -> None:
        """Check that ``n`` images, of the smaller set, are enough.

        Raises:
            ValueError: they are not; the message says why.
        """
        if n < self.least:
            raise ValueError(
                f"{name} needs at least {self.least} images of each kind, {self.reason}: got {n}"
            )


METRICS: dict[str, Metric] = {
    "is": Metric(
        inception_score.inception_score, 2 * GROUPS, f"two in each of its {GROUPS} groups", False
    ),
    "fid": Metric(
        frechet.frechet, 2 * frechet.FOLDS, f"two in each of the {frechet.FOLDS} parts of its error"
    ),
    "kid": Metric(kernel.kernel, 4, "two in each half"),
    "prd": Metric(
        precision_recall.precision_recall,
        precision_recall.CLUSTERS,
        f"as many as there are clusters ({precision_recall.CLUSTERS})",
    ),
}


def metric(name: str) -> Metric:
    """Return the metric called ``name``.

    Raises:
        ValueError: there is none.
    """
    if name not in METRICS:
        raise ValueError(unknown("metric", name, METRICS))
    return METRICS[name]
