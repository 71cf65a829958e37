"""Modules: drop-ins for those of :mod:`torch.nn`, and the swap of a whole model's."""

from adaconv.nn.adaptive_conv import AdaConvBlock
from adaconv.nn.convert import convert
from adaconv.nn.spectral_norm import SpectralNorm, spectral_norm, spectral_norm_

__all__ = ["AdaConvBlock", "SpectralNorm", "convert", "spectral_norm", "spectral_norm_"]
