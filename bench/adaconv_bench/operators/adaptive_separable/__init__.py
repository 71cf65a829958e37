"""Separable adaptive convolution: the shapes of AdaGAN's layers."""

from adaconv_bench.operators.adaptive_separable.cases import PRESETS, STATIC, SUITE, SeparableLayer
from adaconv_bench.operators.adaptive_separable.providers import FORMULAS, PROVIDERS, YARDSTICK

__all__ = ["FORMULAS", "PRESETS", "PROVIDERS", "STATIC", "SUITE", "YARDSTICK", "SeparableLayer"]
