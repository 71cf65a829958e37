"""SNGAN: a discriminator whose every layer has the spectral norm 1."""

import re
from collections.abc import Iterable
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from adaconv.models._gan import GAN
from adaconv.models._layers import check_image_size, check_shape, check_width, initialize, scaled
from adaconv.models._registry import register
from adaconv.nn import spectral_norm, spectral_norm_
from adaconv.nn._names import unknown

LATENT_SIZE = 128
#: Channels of the generator's maps, from the lowest resolution.
GENERATOR_CHANNELS = (512, 256, 128, 64)

#: Channels after each convolution: the published table's, and those of the authors' code.
CHANNELS = {
    "narrow": (64, 64, 128, 128, 256, 256, 512),
    "wide": (64, 128, 128, 256, 256, 512, 512),
}
#: (kernel size, stride) of each convolution; the padding is 1.
WINDOWS = ((3, 1), (4, 2), (3, 1), (4, 2), (3, 1), (4, 2), (3, 1))


class SNGANDiscriminator(nn.Module):
    """Images (N, 3, S, S) in [-1, 1] → logits (N,), every layer's spectral norm held at 1.

    ======================  ============  ==========
    layer                   output        wide
    ======================  ============  ==========
    3×3 convolution         64 × S²       64
    4×4 convolution, /2     64 × (S/2)²   128
    3×3 convolution         128 × (S/2)²  128
    4×4 convolution, /2     128 × (S/4)²  256
    3×3 convolution         256 × (S/4)²  256
    4×4 convolution, /2     256 × (S/8)²  512
    3×3 convolution         512 × (S/8)²  512
    dense                   1
    ======================  ============  ==========

    A leaky ReLU of slope 0.1 follows each convolution. Each forward pass in training mode makes one
    step of power iteration, of all layers in one call.

    Args:
        image_size: S, a multiple of 8.
        width: factor on the channels.
        wide: take the channels of the right column.

    Raises:
        TypeError, ValueError: an argument is out of range.

    Source: Miyato et al., "Spectral Normalization for Generative Adversarial Networks", 2018, table
    3.

    Deviations: the published table has the narrow channels, published code the wide ones; both are
    here. Weights start from N(0, 0.02²) truncated at two deviations, as AdaGAN's do, and as
    PyTorch's, the spectral norm makes 15 steps of power iteration at the start where one would do.
    """

    def __init__(self, image_size: int = 32, width: float = 1.0, *, wide: bool = False) -> None:
        super().__init__()
        check_image_size(image_size, 8)
        check_width(width)
        self.image_size = image_size
        channels = [scaled(c, width) for c in CHANNELS["wide" if wide else "narrow"]]
        layers: list[nn.Module] = []
        for before, after, (size, stride) in zip([3, *channels], channels, WINDOWS, strict=False):
            convolution = nn.Conv2d(before, after, size, stride, padding=1)
            layers += [spectral_norm(initialize(convolution)), nn.LeakyReLU(0.1, inplace=True)]
        self.features = nn.Sequential(*layers)
        self.head = spectral_norm(initialize(nn.Linear(channels[-1] * (image_size // 8) ** 2, 1)))
        spectral_norm_(self)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (N, 3, S, S) to logits (N,)."""
        check_shape("images", images, 3, self.image_size, self.image_size)
        return self.head(self.features(images).flatten(1)).squeeze(1)


class SNGANGenerator(nn.Module):
    """Latents (N, 128) → images (N, 3, S, S) in [-1, 1].

    ==================================================  ============
    layer                                               output
    ==================================================  ============
    dense, batch norm, ReLU                             512 × (S/8)²
    4×4 transposed convolution, ×2, batch norm, ReLU    256 × (S/4)²
    4×4 transposed convolution, ×2, batch norm, ReLU    128 × (S/2)²
    4×4 transposed convolution, ×2, batch norm, ReLU    64 × S²
    3×3 convolution, tanh                               3 × S²
    ==================================================  ============

    Args:
        image_size: S, a multiple of 8.
        width: factor on the channels, the images' 3 apart.

    Raises:
        TypeError, ValueError: an argument is out of range.
    """

    def __init__(self, image_size: int = 32, width: float = 1.0) -> None:
        super().__init__()
        check_image_size(image_size, 8)
        check_width(width)
        channels = [scaled(c, width) for c in GENERATOR_CHANNELS]
        size = image_size // 8
        layers: list[nn.Module] = [
            initialize(nn.Linear(LATENT_SIZE, channels[0] * size**2)),
            nn.Unflatten(1, (channels[0], size, size)),
            nn.BatchNorm2d(channels[0]),
            nn.ReLU(),
        ]
        for before, after in pairwise(channels):
            convolution = initialize(nn.ConvTranspose2d(before, after, 4, 2, padding=1))
            layers += [convolution, nn.BatchNorm2d(after), nn.ReLU()]
        layers += [initialize(nn.Conv2d(channels[-1], 3, 3, padding=1)), nn.Tanh()]
        self.layers = nn.Sequential(*layers)

    def forward(self, latent: Tensor) -> Tensor:
        """Map latents (N, 128) to images (N, 3, S, S)."""
        check_shape("latent", latent, LATENT_SIZE)
        return self.layers(latent)


class Setting(NamedTuple):
    """Rate and β of Adam, and discriminator steps for each generator step."""

    rate: float
    betas: tuple[float, float]
    n_dis: int


#: The settings that the paper compares.
SETTINGS = {
    "A": Setting(1e-4, (0.5, 0.9), 5),
    "B": Setting(1e-4, (0.5, 0.999), 1),
    "C": Setting(2e-4, (0.5, 0.999), 1),
    "D": Setting(1e-3, (0.5, 0.9), 5),
    "E": Setting(1e-3, (0.5, 0.999), 5),
    "F": Setting(1e-3, (0.9, 0.999), 5),
}


class SNGAN(GAN):
    """A GAN that is trained by one of :data:`SETTINGS`."""

    def __init__(
        self, generator: nn.Module, discriminator: nn.Module, config: dict[str, Any]
    ) -> None:
        if config["setting"] not in SETTINGS:
            raise ValueError(unknown("setting", config["setting"], SETTINGS))
        super().__init__(generator, discriminator, config, LATENT_SIZE)
        self.setting = SETTINGS[config["setting"]]
        self.n_dis = self.setting.n_dis

    def optimizer(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """Return a new optimizer of one side."""
        rate, betas = self.setting.rate, self.setting.betas
        return torch.optim.Adam(parameters, lr=rate, betas=betas, fused=True)


@register("sngan", "sngan")
def sngan(
    match: re.Match[str],
    image_size: int,
    width: float,
    *,
    wide: bool = False,
    loss: str = "non-saturating",
    setting: str = "C",
) -> GAN:
    """Build SNGAN.

    Args:
        match: the name.
        image_size: height and width of the images in pixels, a multiple of 8.
        width: factor on the channels of generator and discriminator.
        wide: take the wide discriminator, see :class:`SNGANDiscriminator`.
        loss: name of the loss, a key of :data:`adaconv.losses.LOSSES`; "hinge" is the other one
            that was published.
        setting: "A" to "F", a key of :data:`SETTINGS`; by default that of the published scores.

    Source: Miyato et al., "Spectral Normalization for Generative Adversarial Networks", 2018,
    tables 1 and 3.

    Deviations: batch norm and ReLU follow the generator's dense layer, which the table lacks and
    published code has; without them two linear layers would follow each other. See
    :class:`SNGANDiscriminator` for the other network.
    """
    config = {
        "name": "sngan",
        "image_size": image_size,
        "width": width,
        "wide": wide,
        "loss": loss,
        "setting": setting,
    }
    return SNGAN(
        SNGANGenerator(image_size, width),
        SNGANDiscriminator(image_size, width, wide=wide),
        config,
    )
