"""Scores of generated images, each beside what other real images score.

The feature network is named in every score: ``FID-lite0@128`` is not the FID of the literature,
whose network is Inception.
"""

from adaconv.eval._score import Score
from adaconv.eval.evaluation import SCORES, Record, evaluate, read_scores
from adaconv.eval.extractors import EXTRACTORS, Extractor
from adaconv.eval.scores import METRICS, Metric, metric
from adaconv.eval.statistics import Statistics, gather

__all__ = [
    "EXTRACTORS",
    "METRICS",
    "SCORES",
    "Extractor",
    "Metric",
    "Record",
    "Score",
    "Statistics",
    "evaluate",
    "gather",
    "metric",
    "read_scores",
]
