"""The techniques that any model can be trained with."""

import torch
from torch import Tensor, nn

from adaconv.losses import LOSSES, feature_matching
from adaconv.models._gan import GAN
from adaconv.models._shown import Judged
from adaconv.models._tricks import GradientPenalty, Trick
from adaconv.nn import MinibatchDiscrimination, VirtualBatchNorm2d, fix_reference_


class ClosenessHead(nn.Module):
    """``head(f) + V o(f)``: a last layer that also sees how close the samples of a batch are.

    That is one linear layer of [f, o], with o from :class:`adaconv.nn.MinibatchDiscrimination`. V
    starts at 0.

    Args:
        head: the last layer as it was, a linear one or a convolution that makes one pixel.
        measures, dimensions: B and C of the discrimination.
    """

    def __init__(self, head: nn.Linear | nn.Conv2d, measures: int, dimensions: int) -> None:
        super().__init__()
        features = head.weight[0].numel()
        self.head = head
        self.closeness = MinibatchDiscrimination(features, measures, dimensions)
        self.weight = nn.Parameter(torch.zeros(len(head.weight), measures))

    def forward(self, features: Tensor) -> Tensor:
        """Map features (N, ...) to what the head makes of them, plus the term of closeness."""
        logits = self.head(features)
        flat = features.flatten(1)
        closeness = self.closeness(flat)[:, flat.shape[1] :]
        return logits + (closeness @ self.weight.T).view_as(logits)


class MinibatchFeatures(Trick):
    """Minibatch discrimination: the discriminator's last layer sees how close samples are.

    Args:
        measures: B of :class:`adaconv.nn.MinibatchDiscrimination`.
        dimensions: C.

    Source: Salimans et al., "Improved Techniques for Training GANs", 2016, section 3.2.
    """

    def __init__(self, measures: int = 100, dimensions: int = 5) -> None:
        super().__init__()
        self.measures, self.dimensions = measures, dimensions

    def attach(self, gan: GAN) -> None:
        """Wrap the head."""
        if any(isinstance(trick, GradientPenalty) for trick in gan.tricks):
            raise ValueError("a gradient penalty needs a discriminator that judges one by one")
        head = _head(gan)
        if not isinstance(head, nn.Linear | nn.Conv2d):
            raise ValueError(f"its discriminator ends in {type(head).__name__}")
        gan.discriminator.head = ClosenessHead(head, self.measures, self.dimensions)


class FeatureMatching(Trick):
    """The generator minimises :func:`adaconv.losses.feature_matching` instead of its own loss.

    The features are those that the discriminator's last layer is given.

    Source: Salimans et al., "Improved Techniques for Training GANs", 2016, section 3.1.
    """

    replaces_objective = True

    def attach(self, gan: GAN) -> None:
        """Let the generator's loss take real samples."""
        _head(gan)
        gan.data_sides = gan.data_sides | {"generator"}

    def generator_term(self, gan: GAN, real: Judged | None, fake: Judged) -> Tensor:
        """Return the squared distance of the mean features."""
        if real is None:
            raise ValueError("feature matching compares with real samples, got none")
        return feature_matching(real.features, fake.features)


class LabelSmoothing(Trick):
    """The discriminator's targets are α for real and β for generated samples, instead of 1 and 0.

    ``(1-α) E[D(x)] - β E[D(G(z))]`` is what that adds to the cross entropy of 1 and 0: see
    :func:`adaconv.losses.smoothed_discriminator`. One-sided smoothing has β = 0.

    Args:
        alpha: α.
        beta: β.

    Source: Salimans et al., "Improved Techniques for Training GANs", 2016, section 3.4.
    """

    def __init__(self, alpha: float = 0.9, beta: float = 0.0) -> None:
        super().__init__()
        for name, target in (("alpha", alpha), ("beta", beta)):
            if not 0 <= target <= 1:
                raise ValueError(f"{name} must lie in [0, 1], got {target!r}")
        self.alpha, self.beta = alpha, beta

    def attach(self, gan: GAN) -> None:
        """Check that there are targets."""
        if not gan.loss.log_odds:
            smoothed = " and ".join(name for name, loss in LOSSES.items() if loss.log_odds)
            raise ValueError(f"its loss has no targets that could be smoothed; {smoothed} have")

    def discriminator_term(self, gan: GAN, real: Judged, fake: Judged) -> Tensor:
        """Return the difference to the loss without smoothing."""
        return (1 - self.alpha) * real.logits.mean() - self.beta * fake.logits.mean()


class VirtualBatchNorm(Trick):
    """The generator normalises each sample by a batch that is fixed, instead of by its own.

    Its :class:`torch.nn.BatchNorm2d` give way to :class:`adaconv.nn.VirtualBatchNorm2d`, whose
    reference batch are latents drawn at the start.

    Source: Salimans et al., "Improved Techniques for Training GANs", 2016, section 3.5, which uses
    it in the generator alone.
    """

    def attach(self, gan: GAN) -> None:
        """Swap the layers."""
        norms = {
            name: layer
            for name, layer in gan.generator.named_modules()
            if isinstance(layer, nn.BatchNorm2d)
        }
        if not norms:
            raise ValueError("its generator normalises no batches of maps")
        for name, norm in norms.items():
            layer = VirtualBatchNorm2d(norm.num_features, norm.eps, norm.affine)
            layer.weight, layer.bias = norm.weight, norm.bias
            gan.generator.set_submodule(name, layer)
        fix_reference_(gan.generator, gan.latent(gan.batch_size))


class HistoricalAveraging(Trick):
    """``weight ‖θ - 1/t Σ_i θ[i]‖²`` in each side's loss, over its parameters of all steps so far.

    Args:
        weight: factor, which the paper does not give.

    Source: Salimans et al., "Improved Techniques for Training GANs", 2016, section 3.3.
    """

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__()
        if not weight > 0:
            raise ValueError(f"weight must be positive, got {weight!r}")
        self.weight = weight

    def attach(self, gan: GAN) -> None:
        """Take the parameters as they are for the first of the steps."""
        for side in gan.sides:
            self.register_buffer(f"{side}_steps", torch.tensor(1))
            for index, parameter in enumerate(gan.parameters_of(side)):
                self.register_buffer(f"{side}_{index}", parameter.detach().clone())

    def discriminator_term(self, gan: GAN, real: Judged, fake: Judged) -> Tensor:
        """Return the discriminator's distance from its past."""
        return self._distance(gan, "discriminator")

    def generator_term(self, gan: GAN, real: Judged | None, fake: Judged) -> Tensor:
        """Return the generator's distance from its past."""
        return self._distance(gan, "generator")

    def _distance(self, gan: GAN, side: str) -> Tensor:
        parts = [
            (parameter - self.get_buffer(f"{side}_{index}")).square().sum()
            for index, parameter in enumerate(gan.parameters_of(side))
        ]
        return self.weight * torch.stack(parts).sum()

    @torch.no_grad()
    def after_update(self, gan: GAN, side: str) -> None:
        """Count the new parameters in."""
        steps = self.get_buffer(f"{side}_steps").add_(1)
        for index, parameter in enumerate(gan.parameters_of(side)):
            average = self.get_buffer(f"{side}_{index}")
            average.add_((parameter - average) / steps)


def _head(gan: GAN) -> nn.Module:
    """Return the last layer of the discriminator."""
    head = getattr(gan.discriminator, "head", None)
    if head is None:
        raise ValueError("its discriminator has no last layer called head")
    return head
