"""Adaptive convolution: AdaGAN's layers, its whole generator, and any one shape."""

from adaconv_bench.operators.adaptive_conv.cases import Layer, Network
from adaconv_bench.operators.adaptive_conv.presets import PRESETS, STATIC, SUITE
from adaconv_bench.operators.adaptive_conv.providers import FORMULAS, PROVIDERS, YARDSTICK, Usual

__all__ = [
    "FORMULAS",
    "PRESETS",
    "PROVIDERS",
    "STATIC",
    "SUITE",
    "YARDSTICK",
    "Layer",
    "Network",
    "Usual",
]
