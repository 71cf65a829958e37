"""WGAN-GP: the Wasserstein distance, estimated by a critic whose slope is held at 1."""

import re
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from adaconv.models._gan import GAN
from adaconv.models._points import LATENT_SIZE as POINT_LATENT_SIZE
from adaconv.models._points import PointDiscriminator, PointGenerator
from adaconv.models._registry import register
from adaconv.models._tricks import GradientPenalty
from adaconv.models.dcgan import DCGANDiscriminator, DCGANGenerator

LATENT_SIZE = 128
#: λ, the size of a batch and the rate, of images and of points.
PENALTY = {False: 10.0, True: 0.1}
BATCH_SIZE = {False: 64, True: 256}
RATE = {False: 1e-4, True: 1e-3}


class WGANGP(GAN):
    """A GAN whose critic makes five steps for one of the generator, trained with Adam."""

    n_dis = 5

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        config: dict[str, Any],
        latent_size: int,
    ) -> None:
        penalty = GradientPenalty(config["penalty"])
        networks = generator, discriminator
        super().__init__(*networks, config, latent_size, tricks=[penalty], loss="wasserstein")
        self.batch_size = BATCH_SIZE[config["points"]]

    def optimizer(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """Return a new optimizer of one side."""
        rate = RATE[self.config["points"]]
        return torch.optim.Adam(parameters, lr=rate, betas=(0.5, 0.9), fused=True)


@register("wgan-gp", "wgan-gp")
def wgan_gp(
    match: re.Match[str],
    image_size: int,
    width: float,
    *,
    penalty: float | None = None,
    points: bool = False,
) -> GAN:
    """Build WGAN-GP.

    The networks are those of :mod:`adaconv.models.dcgan`, with 128 latents from N(0, 1) and without
    batch normalisation in the critic.

    Args:
        match: the name.
        image_size: height and width of the images in pixels: 8, 16, 32, 64 or so on.
        width: factor on the channels of generator and critic.
        penalty: weight λ of :func:`adaconv.losses.gradient_penalty`; by default 10 for images and
            0.1 for points.
        points: generate points of the plane, as ``toy2d`` has them, instead of images; the networks
            are those of :mod:`adaconv.models._points`.

    Raises:
        ValueError: ``penalty`` is negative.

    Source: Gulrajani et al., "Improved Training of Wasserstein GANs", 2017, algorithm 1; networks
    and settings from the authors' code for CIFAR-10 and for toy data.

    Deviations: the weights for images start from N(0, 0.02²) as DCGAN's, where the code has He's
    initialisation, and a transposed convolution makes the generator's first map, where the code has
    a dense layer with batch normalisation of each of its values. Points are learned at ten times
    the published rate of 1e-4, with which the code makes 100,000 steps.
    """
    penalty = PENALTY[points] if penalty is None else penalty
    if not penalty >= 0:
        raise ValueError(f"penalty must be at least 0, got {penalty!r}")
    config = {
        "name": "wgan-gp",
        "image_size": image_size,
        "width": width,
        "penalty": penalty,
        "points": points,
    }
    if points:
        return WGANGP(PointGenerator(width), PointDiscriminator(width), config, POINT_LATENT_SIZE)
    return WGANGP(
        DCGANGenerator(image_size, width, latent_size=LATENT_SIZE, bias=True),
        DCGANDiscriminator(image_size, width, norm=False, bias=True),
        config,
        LATENT_SIZE,
    )
