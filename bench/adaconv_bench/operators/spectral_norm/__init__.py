"""Spectral normalisation of a whole network's weights, against PyTorch's of each layer."""

from adaconv_bench.operators.spectral_norm.cases import PRESETS, STATIC, Discriminator
from adaconv_bench.operators.spectral_norm.providers import PROVIDERS, YARDSTICK

__all__ = ["PRESETS", "PROVIDERS", "STATIC", "YARDSTICK", "Discriminator"]
