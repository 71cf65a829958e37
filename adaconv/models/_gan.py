"""A generative adversarial network: two networks, their losses and their optimizers."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, MutableSequence, Sequence
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from adaconv.losses import LOSSES
from adaconv.models._sharing import Shared
from adaconv.models._shown import Judged, Shown
from adaconv.models._tricks import Trick
from adaconv.nn._names import unknown

if TYPE_CHECKING:
    from adaconv.data import Batch, Labelled, TensorData

#: What latents are drawn from: shape → values.
PRIORS: dict[str, Callable[..., Tensor]] = {
    "normal": torch.randn,
    "uniform": lambda *shape, **options: torch.rand(*shape, **options) * 2 - 1,
}


class GAN(nn.Module, Shared):
    """A generator that maps latents to samples, and a discriminator that maps samples to logits.

    A subclass overrides the settings, the optimizer, what its discriminator is shown or the losses.
    All that a trainer needs to know is here: the ``sides`` of the game, each of which minimises the
    method called ``SIDE_loss`` with its own one of the :meth:`optimizers`; their :meth:`turns`; and
    :meth:`after_update`, which is told of each.

    Args:
        generator: (N, latent_size) → samples: images (N, 3, S, S) in [-1, 1], or points (N, 2).
        discriminator: samples → (N,) logits, by its last layer, ``head``, of its features.
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
        data_sides: sides whose losses take real samples, ``SIDE_loss(latent=, real=)``; those of
            the others are ``SIDE_loss(latent=)``.
        labelled: real samples come with their classes, as :class:`adaconv.data.Labelled`.
        tested: whether :meth:`evaluate` measures anything.
        columns: of a picture of many samples; ``None`` makes it square.
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
    labelled: bool = False
    tested: bool = False
    columns: int | None = None

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
        self.tricks = cast(MutableSequence[Trick], nn.ModuleList(tricks))
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
        options = {"generator": generator, "device": source, "dtype": parameter.dtype}
        return self.draw(n, **options).to(device)

    def draw(self, n: int, **options: Any) -> Tensor:
        """Draw n latents as :meth:`latent` does; the options are those of :func:`torch.rand`."""
        return PRIORS[self.prior](n, self.latent_size, **options)

    def shown_latent(self, n: int, generator: torch.Generator) -> Tensor:
        """Draw the latents of the pictures that a run shows again and again, (n, latent_size)."""
        return self.latent(n, generator=generator)

    def prepare(self, dataset: "TensorData") -> None:
        """Take what is needed once of the data, before training.

        Raises:
            ValueError: the data do not have it.
        """

    def reconstruct(self, real: Tensor) -> Tensor | None:
        """Return what the model remakes of samples, ``None`` if it has no encoder."""
        return None

    def evaluate(self, real: "Labelled") -> dict[str, Tensor]:
        """Return what can be measured on data that were kept apart, means over the batch."""
        return {}

    def show_real(self, real: "Batch") -> Shown:
        """Return what the discriminator is shown of real samples."""
        return Shown(real)

    def show_fake(self, latent: Tensor) -> Shown:
        """Return what the discriminator is shown of the samples of ``latent``."""
        return Shown(self.generator(latent))

    def judge(self, shown: Shown) -> Judged:
        """Let the discriminator judge, and keep the features that its last layer is given."""
        head = getattr(self.discriminator, "head", self.discriminator)
        given: list[Tensor] = []
        hook = head.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
        try:
            logits = self.discriminator(shown.samples)
        finally:
            hook.remove()
        return Judged(*shown, given[0], logits)

    def discriminator_loss(self, real: "Batch", latent: Tensor) -> Tensor:
        """Return the discriminator's loss on ``real`` samples and on those of ``latent``.

        No gradient reaches the generator, but under consensus optimisation. Real and generated
        samples go through the discriminator one batch after the other, as any statistics of a batch
        must not mix them.

        Args:
            real: (N, 3, S, S) in [-1, 1], or (N, 2).
            latent: (M, latent_size).
        """
        with self.learning("discriminator"):
            judged = self.judge(self.show_real(real)), self.judge(self.show_fake(latent))
            logits = judged[0].logits, judged[1].logits
            for name, estimate in self.loss.estimates.items():
                self.observed[name] = estimate(*logits).detach()
            self.observed |= self.loss.saturation(*logits)
            terms = (trick.discriminator_term(self, *judged) for trick in self.tricks)
            return sum(terms, start=self.loss.discriminator(*logits))

    def generator_loss(self, latent: Tensor, real: "Batch | None" = None) -> Tensor:
        """Return the generator's loss on the samples of ``latent``, (M, latent_size).

        No gradient is computed for the discriminator's parameters, but under consensus
        optimisation.

        Args:
            latent: (M, latent_size).
            real: real samples, where the model, or a trick, compares with them.
        """
        with self.learning("generator"):
            judged = (
                None if real is None else self.judge(self.show_real(real)),
                self.judge(self.show_fake(latent)),
            )
            terms = [trick.generator_term(self, *judged) for trick in self.tricks]
            if not any(trick.replaces_objective for trick in self.tricks):
                terms.append(self.generator_objective(*judged))
            return sum(terms[1:], start=terms[0])

    def generator_objective(self, real: Judged | None, fake: Judged) -> Tensor:
        """Return the adversarial part of the generator's loss."""
        return self.loss.generator(fake.logits)

    @contextlib.contextmanager
    def learning(self, side: str) -> Iterator[None]:
        """Treat all parameters but those of ``side`` as constants in the ``with`` block.

        Under consensus optimisation they stay variables: each side's gradient is differentiated
        with respect to all parameters.
        """
        own = set(self.parameters_of(side))
        others = [p for p in self.parameters() if p.requires_grad and p not in own]
        constants = [] if self.consensus else others
        for parameter in constants:
            parameter.requires_grad_(False)
        try:
            yield
        finally:
            for parameter in constants:
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

    def parameters_of(self, side: str) -> Iterable[nn.Parameter]:
        """Return what a side learns: by default the parameters of the network of that name."""
        return getattr(self, side).parameters()

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Return a new optimizer of each side."""
        return {side: self.optimizer(self.parameters_of(side)) for side in self.sides}
