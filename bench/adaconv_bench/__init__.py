"""Benchmarks of adaconv: no number without a check of the same call in the same run."""

from adaconv_bench.runner import run

__all__ = ["run"]
