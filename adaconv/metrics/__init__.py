"""Measures of generated samples against the data: pure functions of tensors."""

from adaconv.metrics.diversity import diversity
from adaconv.metrics.modes import Coverage, mode_coverage

__all__ = ["Coverage", "diversity", "mode_coverage"]
