"""InfoGAN: codes that can be read off the samples, without any labels."""

import re
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from adaconv.losses import categorical_information, gaussian_information
from adaconv.models._codes import CodedGAN, Codes
from adaconv.models._gan import GAN
from adaconv.models._layers import (
    check_image_size,
    check_shape,
    check_width,
    initialize_normal,
    scaled,
)
from adaconv.models._registry import register
from adaconv.models._tricks import Trick

if TYPE_CHECKING:
    from adaconv.models._shown import Judged

NOISE = 62
DENSE_UNITS, RECOGNISER_UNITS = 1024, 128
#: Channels at a half and at a quarter of the resolution.
CHANNELS = (64, 128)
SLOPE = 0.1
#: Adam's rates.
RATES = {"discriminator": 2e-4, "generator": 1e-3}


class InfoGANGenerator(nn.Module):
    """Latents (N, L), noise and codes → images (N, 3, S, S) in [-1, 1].

    ====================================================  ============
    layer                                                 output
    ====================================================  ============
    dense, batch norm, ReLU                               1024
    dense, batch norm, ReLU                               128 × (S/4)²
    4×4 transposed convolution, ×2, batch norm, ReLU      64 × (S/2)²
    4×4 transposed convolution, ×2, tanh                  3 × S²
    ====================================================  ============
    """

    def __init__(self, latent_size: int, image_size: int = 32, width: float = 1.0) -> None:
        super().__init__()
        check_image_size(image_size, 4)
        check_width(width)
        units, half, quarter = (scaled(c, width) for c in (DENSE_UNITS, *CHANNELS))
        size, self.latent_size = image_size // 4, latent_size
        self.layers = nn.Sequential(
            nn.Linear(latent_size, units),
            nn.BatchNorm1d(units),
            nn.ReLU(),
            nn.Linear(units, quarter * size**2),
            nn.BatchNorm1d(quarter * size**2),
            nn.ReLU(),
            nn.Unflatten(1, (quarter, size, size)),
            nn.ConvTranspose2d(quarter, half, 4, 2, padding=1),
            nn.BatchNorm2d(half),
            nn.ReLU(),
            nn.ConvTranspose2d(half, 3, 4, 2, padding=1),
            nn.Tanh(),
        )
        self.apply(initialize_normal)

    def forward(self, latent: Tensor) -> Tensor:
        """Map latents (N, L) to images (N, 3, S, S)."""
        check_shape("latent", latent, self.latent_size)
        return self.layers(latent)


class InfoGANDiscriminator(nn.Module):
    """Images (N, 3, S, S) in [-1, 1] → logits (N,); Q reads the codes off its features.

    ====================================================  ============
    layer                                                 output
    ====================================================  ============
    4×4 convolution, /2, leaky ReLU                       64 × (S/2)²
    4×4 convolution, /2, batch norm, leaky ReLU           128 × (S/4)²
    dense, batch norm, leaky ReLU                         1024
    dense                                                 1
    Q, of the 1024: dense, batch norm, leaky ReLU         128
    Q: dense                                              size of the codes
    ====================================================  ============

    The slope of the leaky ReLUs is 0.1. Q's outputs are the logits of the categorical codes and the
    means of the continuous ones, whose standard deviation is fixed at 1.
    """

    def __init__(self, codes: Codes, image_size: int = 32, width: float = 1.0) -> None:
        super().__init__()
        check_image_size(image_size, 4)
        check_width(width)
        units, own = (scaled(u, width) for u in (DENSE_UNITS, RECOGNISER_UNITS))
        half, quarter = (scaled(c, width) for c in CHANNELS)
        self.image_size = image_size
        self.layers = nn.Sequential(
            nn.Conv2d(3, half, 4, 2, padding=1),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(half, quarter, 4, 2, padding=1),
            nn.BatchNorm2d(quarter),
            nn.LeakyReLU(SLOPE),
            nn.Flatten(),
            nn.Linear(quarter * (image_size // 4) ** 2, units),
            nn.BatchNorm1d(units),
            nn.LeakyReLU(SLOPE),
        )
        self.recogniser = nn.Sequential(
            nn.Linear(units, own),
            nn.BatchNorm1d(own),
            nn.LeakyReLU(SLOPE),
            nn.Linear(own, codes.size),
        )
        self.head = nn.Linear(units, 1)
        self.apply(initialize_normal)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (N, 3, S, S) to logits (N,)."""
        check_shape("images", images, 3, self.image_size, self.image_size)
        return self.head(self.layers(images)).squeeze(1)


class MutualInformation(Trick):
    """``-λ L_I(c; G(z, c))`` in both losses: Q learns to find the codes, G to show them.

    ``L_I`` is :func:`adaconv.losses.categorical_information` of each categorical code, plus
    :func:`adaconv.losses.gaussian_information` of the continuous ones.

    Source: Chen et al., "InfoGAN", 2016, equations 5 and 6.
    """

    def __init__(self, weight: float, codes: Codes) -> None:
        super().__init__()
        self.weight, self.codes = weight, codes

    def discriminator_term(self, gan: GAN, real: "Judged", fake: "Judged") -> Tensor:
        """Return the term of the samples, which reaches Q and the trunk that it shares."""
        return self._term(gan, fake)

    def generator_term(self, gan: GAN, real: "Judged | None", fake: "Judged") -> Tensor:
        """Return the term of the samples."""
        return self._term(gan, fake)

    def _term(self, gan: GAN, fake: "Judged") -> Tensor:
        recogniser = gan.discriminator.get_submodule("recogniser")
        found, means = self.codes.split(recogniser(fake.features))
        drawn, continuous = self.codes.split(cast(Tensor, fake.codes))
        parts = [
            categorical_information(logits, code.argmax(1))
            for logits, code in zip(found, drawn, strict=True)
        ]
        parts.append(gaussian_information(means, means.new_zeros(()), continuous))
        information = torch.stack(parts).sum()
        gan.observed["information"] = information.detach()
        return -self.weight * information


class InfoGAN(CodedGAN):
    """A GAN that is trained with rates of its own for each side, in batches of 128."""

    batch_size = 128
    prior = "uniform"

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Return a new optimizer of each side; Q learns with the discriminator."""
        return {
            side: torch.optim.Adam(
                self.parameters_of(side), lr=rate, betas=(0.5, 0.999), fused=True
            )
            for side, rate in RATES.items()
        }


@register("infogan", "infogan")
def infogan(
    match: re.Match[str],
    image_size: int,
    width: float,
    *,
    loss: str = "non-saturating",
    categorical: int = 1,
    categories: int = 10,
    continuous: int = 2,
    noise: int = NOISE,
    weight: float = 1.0,
) -> GAN:
    """Build InfoGAN.

    Args:
        match: the name.
        image_size: height and width of the images in pixels, a multiple of 4.
        width: factor on the channels and units of generator and discriminator.
        loss: name of the adversarial loss, a key of :data:`adaconv.losses.LOSSES`.
        categorical: number of the categorical codes.
        categories: classes of each of them.
        continuous: number of the continuous codes, uniform in [-1, 1].
        noise: number of the other latents.
        weight: λ.

    Raises:
        ValueError: a number is negative, or there are fewer than two classes.

    Source: Chen et al., "InfoGAN", 2016, appendix C; networks, codes and settings from the authors'
    code for MNIST. The paper's codes for SVHN are ``categorical=4 continuous=4 noise=124``.

    Deviations: three channels and tanh, for images in [-1, 1]. As in the code, all noise is uniform
    and Q's standard deviations are 1, so that ``L_I`` of a continuous code stays below -0.22.
    """
    for name, value in {"categorical": categorical, "noise": noise, "weight": weight}.items():
        if not value >= 0:
            raise ValueError(f"{name} must be at least 0, got {value!r}")
    codes = Codes((categories,) * categorical, continuous)
    config: dict[str, Any] = {
        "name": "infogan",
        "image_size": image_size,
        "width": width,
        "loss": loss,
        "categorical": categorical,
        "categories": categories,
        "continuous": continuous,
        "noise": noise,
        "weight": weight,
    }
    generator = InfoGANGenerator(noise + codes.size, image_size, width)
    discriminator = InfoGANDiscriminator(codes, image_size, width)
    tricks = [MutualInformation(weight, codes)]
    return InfoGAN(generator, discriminator, config, noise, codes, tricks=tricks)
