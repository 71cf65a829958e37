"""Adversarial losses by the names that models and commands take."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import Tensor

from adaconv.losses import adversarial


@dataclass(frozen=True)
class AdversarialLoss:
    """The two sides of a loss, of logits."""

    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor], Tensor]
    estimates: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = field(default_factory=dict)
    """What the discriminator's logits tell besides, by the names that metrics have."""


#: name → loss, as the option ``loss`` of a model takes it
LOSSES = {
    "non-saturating": AdversarialLoss(
        adversarial.non_saturating_discriminator, adversarial.non_saturating_generator
    ),
    "minimax": AdversarialLoss(adversarial.minimax_discriminator, adversarial.minimax_generator),
    "hinge": AdversarialLoss(adversarial.hinge_discriminator, adversarial.hinge_generator),
    "wasserstein": AdversarialLoss(
        adversarial.wasserstein_discriminator,
        adversarial.wasserstein_generator,
        {"wasserstein_estimate": adversarial.wasserstein_estimate},
    ),
    "least-squares": AdversarialLoss(
        adversarial.least_squares_discriminator, adversarial.least_squares_generator
    ),
}
