"""Modules: drop-ins for those of :mod:`torch.nn`, and the swap of a whole model's."""

from adaconv.nn.adaptive_conv import AdaConvBlock
from adaconv.nn.adaptive_separable import AdaSeparableConvBlock
from adaconv.nn.convert import convert

__all__ = ["AdaConvBlock", "AdaSeparableConvBlock", "convert"]
