"""WGAN: the Wasserstein distance, estimated by a critic whose weights are clipped."""

import re
from collections.abc import Iterable

import torch
from torch import nn

from adaconv.models._gan import GAN
from adaconv.models._registry import register
from adaconv.models._tricks import WeightClipping
from adaconv.models.dcgan import LATENT_SIZE, DCGANDiscriminator, DCGANGenerator

#: Each weight of the critic stays in [-CLIP, CLIP].
CLIP = 0.01
#: Critic steps in each of the first WARM_UP steps, and in every PERIOD-th.
MANY, WARM_UP, PERIOD = 100, 25, 500


class WGAN(GAN):
    """A GAN that is trained with RMSProp, its critic near the optimum at times."""

    n_dis = 5

    def discriminator_steps(self, step: int, n_dis: int) -> int:
        """Return 100 in the first 25 steps and in steps 501, 1001, ..., ``n_dis`` in others."""
        done = step - 1
        return MANY if done < WARM_UP or done % PERIOD == 0 else n_dis

    def optimizer(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """Return a new optimizer of one side."""
        return torch.optim.RMSprop(parameters, lr=5e-5)


@register("wgan", "wgan")
def wgan(match: re.Match[str], image_size: int, width: float, *, clip: float = CLIP) -> GAN:
    """Build WGAN.

    The networks are those of :mod:`adaconv.models.dcgan` with 64 channels next to the images and
    4×4 windows; latents come from N(0, 1).

    Args:
        match: the name.
        image_size: height and width of the images in pixels: 8, 16, 32, 64 or so on.
        width: factor on the channels of generator and critic.
        clip: bound of the critic's weights.

    Raises:
        ValueError: ``clip`` is not positive.

    Source: Arjovsky et al., "Wasserstein GAN", 2017, algorithm 1; networks, batches of 64 and the
    critic's 100 steps at times from the authors' code.

    Deviations: weights are clipped behind each step of the critic, as in the algorithm; the code
    clips before it. The critic's gains of batch normalisation are clipped too, as in the code.
    """
    if not clip > 0:
        raise ValueError(f"clip must be positive, got {clip!r}")
    config = {"name": "wgan", "image_size": image_size, "width": width, "clip": clip}
    return WGAN(
        DCGANGenerator(image_size, width, base=64, kernel_size=4),
        DCGANDiscriminator(image_size, width, base=64, kernel_size=4),
        config,
        LATENT_SIZE,
        tricks=[WeightClipping(clip)],
        loss="wasserstein",
    )
