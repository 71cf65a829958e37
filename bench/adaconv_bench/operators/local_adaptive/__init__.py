"""Local adaptive convolution: the shapes of AdaGAN's layers, and other grids."""

from adaconv_bench.operators.local_adaptive.cases import PRESETS, STATIC, SUITE, LocalLayer
from adaconv_bench.operators.local_adaptive.providers import FORMULAS, PROVIDERS, YARDSTICK

__all__ = ["FORMULAS", "PRESETS", "PROVIDERS", "STATIC", "SUITE", "YARDSTICK", "LocalLayer"]
