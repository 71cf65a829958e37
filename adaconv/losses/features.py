"""Losses of the features that a discriminator finds."""

from torch import Tensor


def feature_matching(real_features: Tensor, fake_features: Tensor) -> Tensor:
    """``‖E[f(x)] - E[f(G(z))]‖²``: a generator's loss, to be minimised.

    Args:
        real_features: ``f(x)`` of a layer of the discriminator, (N, ...).
        fake_features: ``f(G(z))`` of the same layer, (M, ...).

    Raises:
        ValueError: the features are not of one layer.

    Source: Salimans et al., "Improved Techniques for Training GANs", 2016, section 3.1. The paper's
    code divides by the number of features.
    """
    if real_features.shape[1:] != fake_features.shape[1:]:
        raise ValueError(
            "real and generated features must be of one layer, got "
            f"{tuple(real_features.shape)} and {tuple(fake_features.shape)}"
        )
    return (real_features.mean(0) - fake_features.mean(0)).square().sum()
