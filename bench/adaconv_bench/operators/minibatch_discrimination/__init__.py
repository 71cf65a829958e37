"""Minibatch discrimination: the published sizes, against the formulations of PyTorch."""

from adaconv_bench.operators.minibatch_discrimination.cases import PRESETS, STATIC, SUITE, Minibatch
from adaconv_bench.operators.minibatch_discrimination.providers import PROVIDERS, YARDSTICK

__all__ = ["PRESETS", "PROVIDERS", "STATIC", "SUITE", "YARDSTICK", "Minibatch"]
