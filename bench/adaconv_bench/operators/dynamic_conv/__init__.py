"""Dynamic convolution: the shapes of AdaGAN's layers, depthwise and shared filters."""

from adaconv_bench.operators.dynamic_conv.cases import PRESETS, STATIC, SUITE
from adaconv_bench.operators.dynamic_conv.providers import PROVIDERS, YARDSTICK

__all__ = ["PRESETS", "PROVIDERS", "STATIC", "SUITE", "YARDSTICK"]
