"""A generative adversarial network: two networks, their losses and their optimizers."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from adaconv import losses
from adaconv.nn._names import unknown


class AdversarialLoss(NamedTuple):
    """The two sides of a loss, of logits."""

    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor], Tensor]


#: name → loss, as the option ``loss`` of a model takes it
LOSSES = {
    "non-saturating": AdversarialLoss(
        losses.non_saturating_discriminator, losses.non_saturating_generator
    ),
    "minimax": AdversarialLoss(losses.minimax_discriminator, losses.minimax_generator),
    "hinge": AdversarialLoss(losses.hinge_discriminator, losses.hinge_generator),
    "wasserstein": AdversarialLoss(losses.wasserstein_discriminator, losses.wasserstein_generator),
}


class GAN(nn.Module):
    """A generator that maps latents to images, and a discriminator that maps images to logits.

    Args:
        generator: (N, latent_size) → (N, 3, S, S) in [-1, 1].
        discriminator: (N, 3, S, S) → (N,) logits.
        config: the arguments of :func:`adaconv.models.create` that rebuild this model, all of them;
            must hold ``name``, ``image_size`` and ``loss``.
        latent_size: number of latents of an image.

    Attributes:
        batch_size: images of a training step, as published.
        n_dis: discriminator steps for each generator step, as published.

    Raises:
        ValueError: ``config["loss"]`` is no key of :data:`LOSSES`.

    Source of the settings: Nguyen & Ray, "Generative Adversarial Networks using Adaptive
    Convolution", 2018, section 5.
    """

    batch_size: int = 64
    n_dis: int = 1

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        config: dict[str, Any],
        latent_size: int = 128,
    ) -> None:
        super().__init__()
        if config["loss"] not in LOSSES:
            raise ValueError(unknown("loss", config["loss"], LOSSES))
        self.config = dict(config)
        self.name: str = config["name"]
        self.image_size: int = config["image_size"]
        self.latent_size = latent_size
        self.loss = LOSSES[config["loss"]]
        self.generator = generator
        self.discriminator = discriminator

    def latent(
        self,
        n: int,
        *,
        device: torch.device | str | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Draw latents from N(0, 1), (n, latent_size), in the dtype of the parameters.

        Args:
            n: number of images.
            device: where the latents go; ``None`` is where the parameters are.
            generator: source of randomness, which may be on another device: latents drawn from a
                seeded CPU generator are the same everywhere. ``None`` is PyTorch's global one.

        Raises:
            ValueError: ``n`` is negative.
        """
        if n < 0:
            raise ValueError(f"n must be at least 0, got {n}")
        parameter = next(self.generator.parameters())
        device = parameter.device if device is None else torch.device(device)
        source = device if generator is None else generator.device
        drawn = torch.randn(
            n, self.latent_size, generator=generator, device=source, dtype=parameter.dtype
        )
        return drawn.to(device)

    def discriminator_loss(self, real: Tensor, latent: Tensor) -> Tensor:
        """Return the discriminator's loss on ``real`` images and on the images of ``latent``.

        No gradient reaches the generator. Real and generated images go through the discriminator
        one batch after the other, as any statistics of a batch must not mix them.

        Args:
            real: (N, 3, S, S) in [-1, 1].
            latent: (M, latent_size).
        """
        with torch.no_grad():
            fake = self.generator(latent)
        return self.loss.discriminator(self.discriminator(real), self.discriminator(fake))

    def generator_loss(self, latent: Tensor) -> Tensor:
        """Return the generator's loss on the images of ``latent``, (M, latent_size).

        No gradient is computed for the discriminator's parameters.
        """
        fake = self.generator(latent)
        with _frozen(self.discriminator):
            return self.loss.generator(self.discriminator(fake))

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Return new optimizers of the "generator" and the "discriminator": Adam, as published."""
        return {  # fused: one pass over the parameters, where the default makes ten
            name: torch.optim.Adam(network.parameters(), lr=2e-4, betas=(0.5, 0.999), fused=True)
            for name, network in (
                ("generator", self.generator),
                ("discriminator", self.discriminator),
            )
        }


@contextlib.contextmanager
def _frozen(network: nn.Module) -> Iterator[None]:
    """Treat the parameters as constants in what is computed inside the ``with`` block."""
    learning = [p for p in network.parameters() if p.requires_grad]
    for parameter in learning:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)
