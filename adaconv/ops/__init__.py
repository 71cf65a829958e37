"""The operators: schemas, checks, autograd and the public functions."""

from adaconv.ops._dispatch import BackendError, backend, backends
from adaconv.ops.adaptive_conv import adaptive_conv2d
from adaconv.ops.adaptive_separable import adaptive_separable_conv2d
from adaconv.ops.dynamic_conv import dynamic_conv2d
from adaconv.ops.local_adaptive import local_adaptive_conv2d
from adaconv.ops.minibatch_discrimination import minibatch_discrimination
from adaconv.ops.spectral_norm import spectral_normalize

__all__ = [
    "BackendError",
    "adaptive_conv2d",
    "adaptive_separable_conv2d",
    "backend",
    "backends",
    "dynamic_conv2d",
    "local_adaptive_conv2d",
    "minibatch_discrimination",
    "spectral_normalize",
]
