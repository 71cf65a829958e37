"""Initialisation of the weights."""

from torch import Tensor, nn

STD = 0.02


def truncated_normal_(weight: Tensor) -> Tensor:
    """Fill ``weight`` from N(0, 0.02²) truncated at two standard deviations, and return it.

    Source: Nguyen & Ray, "Generative Adversarial Networks using Adaptive Convolution", 2018,
    section 5; the bounds are those of TensorFlow's truncated normal, the framework used there.
    """
    return nn.init.trunc_normal_(weight, std=STD, a=-2 * STD, b=2 * STD)
