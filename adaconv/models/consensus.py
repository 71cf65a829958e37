"""Consensus optimisation: both networks move at once, and together towards gradients of zero."""

import re
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from adaconv.models._gan import GAN
from adaconv.models._points import PointDiscriminator, PointGenerator
from adaconv.models._registry import register
from adaconv.models.dcgan import DCGANDiscriminator, DCGANGenerator

#: γ.
WEIGHT = 10.0
#: Latents of an image, and of a point.
LATENT_SIZE, POINT_LATENT_SIZE = 256, 16
#: Channels next to the images.
BASE = 64
#: Units of the hidden layers of the networks for points.
HIDDEN = (16, 16, 16, 16)
#: Samples of a training step, and the rate, of images and of points.
BATCH_SIZE = {False: 64, True: 128}
RATE = {False: 1e-4, True: 2e-3}


class Consensus(GAN):
    """A GAN that is trained by :meth:`GAN.agree`, with RMSProp."""

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        config: dict[str, Any],
        latent_size: int,
    ) -> None:
        super().__init__(generator, discriminator, config, latent_size)
        self.batch_size = BATCH_SIZE[config["points"]]
        self.agree(config["weight"])

    def optimizer(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """Return a new optimizer of one side."""
        return torch.optim.RMSprop(parameters, lr=RATE[self.config["points"]], alpha=0.9)


@register("consensus", "consensus")
def consensus(
    match: re.Match[str],
    image_size: int,
    width: float,
    *,
    loss: str = "non-saturating",
    weight: float = WEIGHT,
    points: bool = False,
) -> GAN:
    """Build a GAN that is trained by consensus optimisation.

    The networks for images are those of :mod:`adaconv.models.dcgan` with 64 channels next to the
    images, without batch normalisation and with biases; those for points have four hidden layers of
    16 ReLUs. Latents come from N(0, 1), 256 of an image and 16 of a point.

    Args:
        match: the name.
        image_size: height and width of the images in pixels: 8, 16, 32, 64 or so on.
        width: factor on the channels, or units, of both networks.
        loss: name of the loss, a key of :data:`adaconv.losses.LOSSES`.
        weight: γ of the rule, see :meth:`GAN.agree`, which trains any other model by it.
        points: generate points of the plane, as ``toy2d`` has them, instead of images.

    Raises:
        ValueError: ``weight`` is not positive.

    Source: Mescheder et al., "The Numerics of GANs", 2017, sections 4 and 5; γ, the loss and the
    settings for CIFAR-10 from the authors' code.

    Deviations: layers start as Glorot & Bengio have it, the default of the library that the authors
    used; RMSProp's decay of 0.9 is its default too. Points are learned at a rate of 2e-3, published
    is 1e-4, with which 8 modes take many times the steps; of their batches the paper says nothing.
    """
    config = {
        "name": "consensus",
        "image_size": image_size,
        "width": width,
        "loss": loss,
        "weight": weight,
        "points": points,
    }
    if points:
        generator = PointGenerator(width, hidden=HIDDEN, latent_size=POINT_LATENT_SIZE)
        discriminator = PointDiscriminator(width, hidden=HIDDEN)
        return Consensus(generator, discriminator, config, POINT_LATENT_SIZE)
    networks: dict[str, Any] = {"base": BASE, "norm": False, "bias": True}
    gan = Consensus(
        DCGANGenerator(image_size, width, latent_size=LATENT_SIZE, **networks),
        DCGANDiscriminator(image_size, width, **networks),
        config,
        LATENT_SIZE,
    )
    return gan.apply(_initialize)


def _initialize(layer: nn.Module) -> None:
    if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.xavier_uniform_(layer.weight)
