"""Modules: drop-ins for those of :mod:`torch.nn`, and the swap of a whole model's."""

from adaconv.nn.adaptive_conv import AdaConvBlock
from adaconv.nn.adaptive_separable import AdaSeparableConvBlock
from adaconv.nn.convert import convert
from adaconv.nn.local_adaptive import LocalAdaConvBlock
from adaconv.nn.minibatch_discrimination import MinibatchDiscrimination
from adaconv.nn.spectral_norm import SpectralNorm, spectral_norm, spectral_norm_
from adaconv.nn.virtual_batch_norm import VirtualBatchNorm2d, fix_reference_

__all__ = [
    "AdaConvBlock",
    "AdaSeparableConvBlock",
    "LocalAdaConvBlock",
    "MinibatchDiscrimination",
    "SpectralNorm",
    "VirtualBatchNorm2d",
    "convert",
    "fix_reference_",
    "spectral_norm",
    "spectral_norm_",
]
