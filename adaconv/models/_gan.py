"""A generative adversarial network: two networks, their losses and their optimizers."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from adaconv.losses import LOSSES
from adaconv.models._tricks import Trick
from adaconv.nn._names import unknown

#: What latents are drawn from: shape → values.
PRIORS: dict[str, Callable[..., Tensor]] = {
    "normal": torch.randn,
    "uniform": lambda *shape, **options: torch.rand(*shape, **options) * 2 - 1,
}


class GAN(nn.Module):
    """A generator that maps latents to samples, and a discriminator that maps samples to logits.

    A subclass overrides the settings, the optimizer or the losses. All that a trainer needs to know
    is here: the ``sides`` of the game, each of which minimises the method called ``SIDE_loss`` with
    its own one of the :meth:`optimizers`; their :meth:`turns`; and :meth:`after_update`, which is
    told of each.

    Args:
        generator: (N, latent_size) → samples: images (N, 3, S, S) in [-1, 1], or points (N, 2).
        discriminator: samples → (N,) logits.
        config: the arguments of :func:`adaconv.models.create` that rebuild this model, all of them;
            must hold ``name`` and ``image_size``.
        latent_size: number of latents of a sample.
        tricks: additions to the losses and updates.
        loss: a key of :data:`adaconv.losses.LOSSES`; ``config["loss"]`` by default.

    Attributes:
        batch_size: samples of a training step, as published.
        n_dis: discriminator steps for each generator step, as published.
        simultaneous: all sides make their step at once, each from the gradient where all of them
            are, instead of one after the other.
        consensus: γ of consensus optimisation, see :meth:`agree`; 0 is without.
        sides: who plays, the discriminator first.
        prior: what latents are drawn from: "normal" is N(0, 1), "uniform" U(-1, 1).
        data_sides: sides whose losses take real samples, ``SIDE_loss(real, latent)``; those of
            the others are ``SIDE_loss(latent)``.
        observed: what the last loss measured besides, by its name in the metrics.

    Raises:
        ValueError: no loss has that name.

    Source of the settings: Nguyen & Ray, "Generative Adversarial Networks using Adaptive
    Convolution", 2018, section 5.
    """

    batch_size: int = 64
    n_dis: int = 1
    simultaneous: bool = False
    consensus: float = 0.0
    sides: tuple[str, ...] = ("discriminator", "generator")
    prior: str = "normal"
    data_sides: frozenset[str] = frozenset({"discriminator"})

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        config: dict[str, Any],
        latent_size: int = 128,
        tricks: Sequence[Trick] = (),
        loss: str | None = None,
    ) -> None:
        super().__init__()
        loss = config["loss"] if loss is None else loss
        if loss not in LOSSES:
            raise ValueError(unknown("loss", loss, LOSSES))
        self.config = dict(config)
        self.name: str = config["name"]
        self.image_size: int = config["image_size"]
        self.latent_size = latent_size
        self.loss = LOSSES[loss]
        self.generator = generator
        self.discriminator = discriminator
        self.tricks = cast(Sequence[Trick], nn.ModuleList(tricks))
        self.observed: dict[str, Tensor] = {}

    def latent(
        self,
        n: int,
        *,
        device: torch.device | str | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Draw latents from :attr:`prior`, (n, latent_size), in the dtype of the parameters.

        Args:
            n: number of samples.
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
        drawn = PRIORS[self.prior](
            n, self.latent_size, generator=generator, device=source, dtype=parameter.dtype
        )
        return drawn.to(device)

    def discriminator_loss(self, real: Tensor, latent: Tensor) -> Tensor:
        """Return the discriminator's loss on ``real`` samples and on those of ``latent``.

        No gradient reaches the generator, but under consensus optimisation. Real and generated
        samples go through the discriminator one batch after the other, as any statistics of a batch
        must not mix them.

        Args:
            real: (N, 3, S, S) in [-1, 1], or (N, 2).
            latent: (M, latent_size).
        """
        with self.constant(self.generator):
            fake = self.generator(latent)
        logits = self.discriminator(real), self.discriminator(fake)
        for name, estimate in self.loss.estimates.items():
            self.observed[name] = estimate(*logits).detach()
        self.observed |= self.loss.saturation(*logits)
        terms = (trick.discriminator_term(self, real, fake) for trick in self.tricks)
        return sum(terms, start=self.loss.discriminator(*logits))

    def generator_loss(self, latent: Tensor) -> Tensor:
        """Return the generator's loss on the samples of ``latent``, (M, latent_size).

        No gradient is computed for the discriminator's parameters, but under consensus
        optimisation.
        """
        fake = self.generator(latent)
        with self.constant(self.discriminator):
            terms = (trick.generator_term(self, fake) for trick in self.tricks)
            return sum(terms, start=self.loss.generator(self.discriminator(fake)))

    @contextlib.contextmanager
    def constant(self, network: nn.Module) -> Iterator[None]:
        """Treat the parameters of ``network`` as constants in what the ``with`` block computes.

        Under consensus optimisation they stay variables: each side's gradient is differentiated
        with respect to all parameters.
        """
        learning = [p for p in network.parameters() if p.requires_grad and not self.consensus]
        for parameter in learning:
            parameter.requires_grad_(False)
        try:
            yield
        finally:
            for parameter in learning:
                parameter.requires_grad_(True)

    def agree(self, weight: float) -> None:
        """Train by consensus optimisation: all sides move at once, along ``v + γ ∇½‖v‖²``.

        ``v`` has the gradients of all sides, each of its own loss with respect to its own
        parameters; the gradient of the regulariser is with respect to all parameters. The game has
        its equilibria where it had them, and rotates less around them.

        Args:
            weight: γ.

        Raises:
            ValueError: ``weight`` is not positive.

        Source: Mescheder et al., "The Numerics of GANs", 2017, section 4.
        """
        if not weight > 0:
            raise ValueError(f"the weight of consensus must be positive, got {weight!r}")
        self.simultaneous, self.n_dis, self.consensus = True, 1, weight

    def turns(self, n_dis: int) -> Sequence[tuple[str, ...]]:
        """Return the updates of a step in their order; sides that stand together move at once."""
        if self.simultaneous:
            return [self.sides]
        first, *others = ((side,) for side in self.sides)
        return [first] * n_dis + others

    def discriminator_steps(self, step: int, n_dis: int) -> int:
        """Return the discriminator's updates in step 1, 2, ..., where ``n_dis`` is the rule."""
        return n_dis

    def after_update(self, side: str) -> None:
        """Do what is due when the optimizer of ``side`` has made its step."""
        for trick in self.tricks:
            trick.after_update(self, side)

    def optimizer(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """Return a new optimizer of one side, as published."""
        # fused: one pass over the parameters, where the default makes ten
        return torch.optim.Adam(parameters, lr=2e-4, betas=(0.5, 0.999), fused=True)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Return a new optimizer of each side."""
        return {
            "generator": self.optimizer(self.generator.parameters()),
            "discriminator": self.optimizer(self.discriminator.parameters()),
        }
