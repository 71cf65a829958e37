"""What can be added to the training of any model, each apart from the others."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from adaconv.losses import gradient_penalty

if TYPE_CHECKING:
    from adaconv.models._gan import GAN
    from adaconv.models._shown import Judged


class Trick(nn.Module):
    """An addition to the losses of a GAN, or something done behind an update; here: nothing.

    A trick overrides what it needs. What it keeps from step to step it registers as buffers: they
    move with the model, and are saved and resumed with it.

    Attributes:
        replaces_objective: the term of the generator stands for the adversarial part of its loss.
    """

    replaces_objective: bool = False

    def __init__(self) -> None:  # the values that a trick takes are read from its signature
        super().__init__()

    def attach(self, gan: "GAN") -> None:
        """Change what has to change in a new model.

        Raises:
            ValueError: the model cannot take the trick; the message says why.
        """

    def discriminator_term(self, gan: "GAN", real: "Judged", fake: "Judged") -> Tensor:
        """Return what the discriminator's loss on these samples grows by."""
        return fake.logits.new_zeros(())

    def generator_term(self, gan: "GAN", real: "Judged | None", fake: "Judged") -> Tensor:
        """Return what the generator's loss on these samples grows by.

        ``real`` is there where ``gan.data_sides`` have the generator.
        """
        return fake.logits.new_zeros(())

    def after_update(self, gan: "GAN", side: str) -> None:
        """Do what is due when the optimizer of ``side`` has made its step."""


class WeightClipping(Trick):
    """Each parameter of the discriminator is put back into [-bound, bound] behind its update.

    Source: Arjovsky et al., "Wasserstein GAN", 2017, algorithm 1.
    """

    def __init__(self, bound: float) -> None:
        super().__init__()
        self.bound = bound

    @torch.no_grad()
    def after_update(self, gan: "GAN", side: str) -> None:
        """Clip."""
        if side == "discriminator":
            for parameter in gan.discriminator.parameters():
                parameter.clamp_(-self.bound, self.bound)


class GradientPenalty(Trick):
    """``weight`` times :func:`adaconv.losses.gradient_penalty` in the discriminator's loss."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = weight

    def discriminator_term(self, gan: "GAN", real: "Judged", fake: "Judged") -> Tensor:
        """Return the penalty between these samples."""
        return self.weight * gradient_penalty(gan.discriminator, real.samples, fake.samples)


class Consensus(Trick):
    """The model is trained by consensus optimisation, see :meth:`GAN.agree`.

    Args:
        weight: γ.
    """

    def __init__(self, weight: float = 10.0) -> None:
        super().__init__()
        self.weight = weight

    def attach(self, gan: "GAN") -> None:
        """Let all sides move at once."""
        gan.agree(self.weight)
