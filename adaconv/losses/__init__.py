"""Losses: pure functions of logits."""

from adaconv.losses.adversarial import (
    hinge_discriminator,
    hinge_generator,
    minimax_discriminator,
    minimax_generator,
    non_saturating_discriminator,
    non_saturating_generator,
    wasserstein_discriminator,
    wasserstein_generator,
)

__all__ = [
    "hinge_discriminator",
    "hinge_generator",
    "minimax_discriminator",
    "minimax_generator",
    "non_saturating_discriminator",
    "non_saturating_generator",
    "wasserstein_discriminator",
    "wasserstein_generator",
]
