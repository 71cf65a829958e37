"""DCGAN: convolutional networks by the seven rules, and what other systems take from it."""

import re
from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from adaconv.models._gan import GAN
from adaconv.models._layers import check_shape, check_width, doublings, initialize_normal, scaled
from adaconv.models._registry import register

LATENT_SIZE = 100
#: Channels next to the images; they double wherever the resolution halves.
BASE = 128


class DCGANGenerator(nn.Module):
    """Latents (N, latent_size) → images (N, 3, S, S) in [-1, 1].

    ===============================================  ===========  ===========
    layer                                            S = 32       S = 64
    ===============================================  ===========  ===========
    4×4 transposed convolution, batch norm, ReLU     512 × 4²     1024 × 4²
    5×5 transposed convolution, ×2, b. norm, ReLU    256 × 8²     512 × 8²
    5×5 transposed convolution, ×2, b. norm, ReLU    128 × 16²    256 × 16²
    5×5 transposed convolution, ×2, b. norm, ReLU                 128 × 32²
    5×5 transposed convolution, ×2, tanh             3 × 32²      3 × 64²
    ===============================================  ===========  ===========

    Args:
        image_size: S, 8, 16, 32, 64 or so on.
        width: factor on the channels, the images' 3 apart.
        latent_size: number of latents.
        base: channels of the last row but one.
        kernel_size: 5, or 4.
        norm: normalise batches, the last layer apart.
        bias: give the layers a bias that no batch normalisation follows.

    Raises:
        TypeError, ValueError: an argument is out of range.
    """

    def __init__(
        self,
        image_size: int = 64,
        width: float = 1.0,
        *,
        latent_size: int = LATENT_SIZE,
        base: int = BASE,
        kernel_size: int = 5,
        norm: bool = True,
        bias: bool = False,
    ) -> None:
        super().__init__()
        channels = _channels(image_size, width, base)[::-1]
        self.latent_size = latent_size
        window: dict[str, Any] = {
            "kernel_size": kernel_size,
            "stride": 2,
            "padding": (kernel_size - 1) // 2,
            "output_padding": kernel_size % 2,
        }
        inner = bias and not norm
        first = nn.ConvTranspose2d(latent_size, channels[0], 4, bias=inner)
        layers = [nn.Unflatten(1, (latent_size, 1, 1)), first, *_activation(channels[0], norm)]
        for before, after in pairwise(channels):
            layers.append(nn.ConvTranspose2d(before, after, **window, bias=inner))
            layers += _activation(after, norm)
        layers += [nn.ConvTranspose2d(channels[-1], 3, **window, bias=bias), nn.Tanh()]
        self.layers = nn.Sequential(*layers)
        self.apply(initialize_normal)

    def forward(self, latent: Tensor) -> Tensor:
        """Map latents (N, latent_size) to images (N, 3, S, S)."""
        check_shape("latent", latent, self.latent_size)
        return self.layers(latent)


class DCGANDiscriminator(nn.Module):
    """Images (N, 3, S, S) in [-1, 1] → logits (N,).

    ===============================================  ===========  ===========
    layer                                            S = 32       S = 64
    ===============================================  ===========  ===========
    5×5 convolution, /2, leaky ReLU                  128 × 16²    128 × 32²
    5×5 convolution, /2, b. norm, leaky ReLU         256 × 8²     256 × 16²
    5×5 convolution, /2, b. norm, leaky ReLU         512 × 4²     512 × 8²
    5×5 convolution, /2, b. norm, leaky ReLU                      1024 × 4²
    4×4 convolution                                  1            1
    ===============================================  ===========  ===========

    The slope of the leaky ReLUs is 0.2.

    Args:
        image_size: S, 8, 16, 32, 64 or so on.
        width: factor on the channels.
        base: channels of the first row.
        kernel_size: 5, or 4.
        norm: normalise batches, the first and the last layer apart.
        bias: give the layers a bias that no batch normalisation follows.

    Raises:
        TypeError, ValueError: an argument is out of range.
    """

    def __init__(
        self,
        image_size: int = 64,
        width: float = 1.0,
        *,
        base: int = BASE,
        kernel_size: int = 5,
        norm: bool = True,
        bias: bool = False,
    ) -> None:
        super().__init__()
        channels = _channels(image_size, width, base)
        self.image_size = image_size
        layers: list[nn.Module] = []
        for index, (before, after) in enumerate(pairwise([3, *channels])):
            normalised = norm and index > 0
            padding = (kernel_size - 1) // 2
            layers.append(
                nn.Conv2d(before, after, kernel_size, 2, padding, bias=bias and not normalised)
            )
            layers += [nn.BatchNorm2d(after)] if normalised else []
            layers.append(nn.LeakyReLU(0.2))
        self.layers = nn.Sequential(*layers)
        self.head = nn.Conv2d(channels[-1], 1, 4, bias=bias)
        self.apply(initialize_normal)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (N, 3, S, S) to logits (N,)."""
        check_shape("images", images, 3, self.image_size, self.image_size)
        return self.head(self.layers(images)).flatten()


def _channels(image_size: int, width: float, base: int) -> list[int]:
    """Channels from the resolution S/2 down to 4."""
    check_width(width)
    return [scaled(base * 2**index, width) for index in range(doublings(image_size))]


def _activation(channels: int, norm: bool) -> list[nn.Module]:
    return [nn.BatchNorm2d(channels), nn.ReLU()] if norm else [nn.ReLU()]


class DCGAN(GAN):
    """DCGAN: batches of 128, latents from U(-1, 1), Adam as :class:`GAN` has it."""

    batch_size = 128
    prior = "uniform"


@register("dcgan", "dcgan")
def dcgan(
    match: re.Match[str], image_size: int, width: float, *, loss: str = "non-saturating"
) -> GAN:
    """Build DCGAN.

    The rules of the paper: all is convolution (1); strides and fractional strides instead of
    pooling (2); no hidden dense layers (3); batch normalisation in both networks (4), but for the
    generator's output and the discriminator's input (7); ReLU in the generator, tanh at its output
    (5); leaky ReLU in the discriminator (6).

    Args:
        match: the name.
        image_size: height and width of the images in pixels: 8, 16, 32, 64 or so on.
        width: factor on the channels of generator and discriminator.
        loss: name of the loss, a key of :data:`adaconv.losses.LOSSES`.

    Source: Radford et al., "Unsupervised Representation Learning with Deep Convolutional Generative
    Adversarial Networks", 2016, figure 1 and section 4; the discriminator from the authors' code.

    Deviations: no weight decay, where the code has one of 1e-5.
    """
    config = {"name": "dcgan", "image_size": image_size, "width": width, "loss": loss}
    return DCGAN(
        DCGANGenerator(image_size, width),
        DCGANDiscriminator(image_size, width),
        config,
        LATENT_SIZE,
    )
