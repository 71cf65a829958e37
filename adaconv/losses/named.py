"""Adversarial losses by the names that models and commands take."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from adaconv.losses import adversarial

#: A loss is flat in a logit where its slope is less than this; most are at most 1 steep.
FLAT = 0.01


@dataclass(frozen=True)
class AdversarialLoss:
    """The two sides of a loss, of logits."""

    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor], Tensor]
    estimates: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = field(default_factory=dict)
    """What the discriminator's logits tell besides, by the names that metrics have."""
    log_odds: bool = False
    """Whether ``σ(D(x))`` is a probability: that of ``x`` being real."""

    def saturation(self, real_logits: Tensor, fake_logits: Tensor) -> dict[str, Tensor]:
        """Return the share of samples in whose logits a side's loss is flat, by metric.

        Where the discriminator's is near 1, it is sure of all samples and hardly learns from them.
        Where the generator's is, its gradient vanishes whatever the discriminator's slope: minimax
        comes to that as soon as the discriminator is sure, the non-saturating loss does not.

        Args:
            real_logits: (N,).
            fake_logits: (M,).

        Source: Goodfellow et al., "Generative Adversarial Nets", 2014, section 3; the threshold is
        ours.
        """
        real, fake = (logits.detach().float() for logits in (real_logits, fake_logits))
        return {
            "discriminator_saturation": _flat(self.discriminator, real, fake),
            "generator_saturation": _flat(self.generator, fake),
        }


def _flat(loss: Callable[..., Tensor], *logits: Tensor) -> Tensor:
    """The share of logits in which a loss, that is a mean over each of its arguments, is flat."""
    with torch.enable_grad():
        given = [values.clone().requires_grad_() for values in logits]
        slopes = torch.autograd.grad(loss(*given), given)
    steep = torch.cat([(slope.abs() * slope.numel()).flatten() for slope in slopes])
    return (steep < FLAT).float().mean()


#: name → loss, as the option ``loss`` of a model takes it
LOSSES = {
    "non-saturating": AdversarialLoss(
        adversarial.non_saturating_discriminator,
        adversarial.non_saturating_generator,
        log_odds=True,
    ),
    "minimax": AdversarialLoss(
        adversarial.minimax_discriminator, adversarial.minimax_generator, log_odds=True
    ),
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
