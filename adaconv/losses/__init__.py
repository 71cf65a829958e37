"""Losses: pure functions of logits, features and samples; each returns a scalar."""

from adaconv.losses.adversarial import (
    hinge_discriminator,
    hinge_generator,
    least_squares_discriminator,
    least_squares_generator,
    minimax_discriminator,
    minimax_generator,
    non_saturating_discriminator,
    non_saturating_generator,
    smoothed_discriminator,
    wasserstein_discriminator,
    wasserstein_estimate,
    wasserstein_generator,
)
from adaconv.losses.codes import categorical_information, classification, gaussian_information
from adaconv.losses.features import feature_matching
from adaconv.losses.named import LOSSES, AdversarialLoss
from adaconv.losses.penalties import gradient_penalty, r1_penalty

__all__ = [
    "LOSSES",
    "AdversarialLoss",
    "categorical_information",
    "classification",
    "feature_matching",
    "gaussian_information",
    "gradient_penalty",
    "hinge_discriminator",
    "hinge_generator",
    "least_squares_discriminator",
    "least_squares_generator",
    "minimax_discriminator",
    "minimax_generator",
    "non_saturating_discriminator",
    "non_saturating_generator",
    "r1_penalty",
    "smoothed_discriminator",
    "wasserstein_discriminator",
    "wasserstein_estimate",
    "wasserstein_generator",
]
