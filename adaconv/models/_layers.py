"""What the models share: sizes that are checked, and the initialisation of ordinary layers."""

import math
from typing import TypeVar

from torch import Tensor, nn

from adaconv.nn._init import truncated_normal_


def scaled(channels: int, width: float) -> int:
    """Return ``channels`` times ``width``, rounded to the nearest integer, at least 1.

    >>> scaled(64, 0.25), scaled(16, 0.01)
    (16, 1)
    """
    return max(1, round(channels * width))


def check_width(width: float) -> None:
    """Raise unless ``width`` is a positive number."""
    if isinstance(width, bool) or not isinstance(width, int | float):
        raise TypeError(f"width must be a number, got {width!r}")
    if not (math.isfinite(width) and width > 0):
        raise ValueError(f"width must be a positive number, got {width!r}")


def check_image_size(image_size: int, multiple: int = 1) -> None:
    """Raise unless ``image_size`` is a positive multiple of ``multiple``."""
    if isinstance(image_size, bool) or not isinstance(image_size, int):
        raise TypeError(f"image_size must be an integer, got {image_size!r}")
    if image_size < 1 or image_size % multiple:
        kind = "positive" if multiple == 1 else f"a positive multiple of {multiple}"
        raise ValueError(f"image_size must be {kind}, got {image_size}")


def doublings(image_size: int, least: int = 8) -> int:
    """Return how often 4×4 doubles to ``image_size``; raise unless it is ``least``, doubled or not.

    >>> doublings(32)
    3
    """
    if isinstance(image_size, bool) or not isinstance(image_size, int):
        raise TypeError(f"image_size must be an integer, got {image_size!r}")
    count = image_size.bit_length() - 3
    if image_size < least or image_size != 4 * 2**count:
        sizes = ", ".join(str(least * 2**index) for index in range(4))
        raise ValueError(f"image_size must be {sizes} or so on, got {image_size}")
    return count


def check_shape(name: str, values: Tensor, *shape: int) -> None:
    """Raise unless ``values`` have the shape (N, ...shape)."""
    if values.shape[1:] != shape or values.dim() == 0:
        expected = ", ".join(map(str, shape))
        raise ValueError(f"{name} must have shape (N, {expected}), got {tuple(values.shape)}")


Layer = TypeVar("Layer", nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


def initialize(layer: Layer) -> Layer:
    """Give the layer a truncated normal weight and a bias of 0; return it."""
    truncated_normal_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def initialize_normal(layer: nn.Module) -> None:
    """Draw weights from N(0, 0.02²), gains of batch normalisation from N(1, 0.02²); biases are 0.

    Source: Radford et al., "Unsupervised Representation Learning with Deep Convolutional Generative
    Adversarial Networks", 2016, section 4, and the authors' code.
    """
    norms = nn.BatchNorm1d | nn.BatchNorm2d
    if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear | norms):
        nn.init.normal_(layer.weight, float(isinstance(layer, norms)), 0.02)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
