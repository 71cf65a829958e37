"""Minibatch discrimination: the published sizes, against the formulations of PyTorch."""

from adaconv_bench.operators.minibatch_discrimination.cases import PRESETS, Minibatch
from adaconv_bench.operators.minibatch_discrimination.providers import PROVIDERS, YARDSTICK

__all__ = ["PRESETS", "PROVIDERS", "YARDSTICK", "Minibatch"]
