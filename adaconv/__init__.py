"""Convolutions whose weights depend on the place, and the GANs built on them."""

from adaconv.nn.convert import convert
from adaconv.ops import (
    BackendError,
    adaptive_conv2d,
    adaptive_separable_conv2d,
    backend,
    backends,
    dynamic_conv2d,
    local_adaptive_conv2d,
    minibatch_discrimination,
    spectral_normalize,
)

__version__ = "0.1.0"

__all__ = [
    "BackendError",
    "adaptive_conv2d",
    "adaptive_separable_conv2d",
    "backend",
    "backends",
    "convert",
    "dynamic_conv2d",
    "local_adaptive_conv2d",
    "minibatch_discrimination",
    "spectral_normalize",
]
