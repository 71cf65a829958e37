"""AdaGAN: a generator of adaptive convolutions against the discriminator of SNGAN."""

import re
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor, nn

from adaconv.models._gan import GAN
from adaconv.models._layers import check_image_size, check_shape, check_width, initialize, scaled
from adaconv.models._registry import register
from adaconv.models.sngan import SNGANDiscriminator
from adaconv.nn import AdaConvBlock

LATENT_SIZE = 128
#: Channels of the map that the dense layer makes.
DENSE_CHANNELS = 128
#: (channels, upsampling in front) of each convolution.
CONVOLUTIONS = ((64, 2), (32, 2), (16, 2), (3, 1))


class AdaGANGenerator(nn.Module):
    """Latents (N, 128) → images (N, 3, S, S) in [-1, 1].

    ==================================================  ============
    layer                                               output
    ==================================================  ============
    dense                                               128 × (S/8)²
    nearest 2×, 3×3 convolution, batch norm, ReLU       64 × (S/4)²
    nearest 2×, 3×3 convolution, batch norm, ReLU       32 × (S/2)²
    nearest 2×, 3×3 convolution, batch norm, ReLU       16 × S²
    3×3 convolution, tanh                               3 × S²
    ==================================================  ============

    The first ``adaptive`` of the four convolutions are adaptive blocks, the others ordinary.

    Args:
        image_size: S, a multiple of 8.
        width: factor on the channels, the images' 3 apart.
        adaptive: how many convolutions are adaptive, counted from the lowest resolution, 0 to 4.
        block: what they are: :class:`adaconv.nn.AdaConvBlock`, or one of its relatives.
        **block_options: arguments of the blocks, such as ``adaptive_kernel_size``.

    Raises:
        TypeError, ValueError: an argument is out of range.

    Source: Nguyen & Ray, "Generative Adversarial Networks using Adaptive Convolution", 2018, tables
    1 and 2.

    Deviations: none from the tables. The tables have neither batch norm nor ReLU behind the dense
    layer, where published code of SNGAN's generator has both; nor has this. The momentum and
    epsilon of batch norm were not published: these are PyTorch's.
    """

    def __init__(
        self,
        image_size: int = 32,
        width: float = 1.0,
        *,
        adaptive: int = len(CONVOLUTIONS),
        block: Callable[..., nn.Module] = AdaConvBlock,
        **block_options: Any,
    ) -> None:
        super().__init__()
        check_image_size(image_size, 8)
        check_width(width)
        if adaptive not in range(len(CONVOLUTIONS) + 1):
            raise ValueError(f"adaptive must be 0 to {len(CONVOLUTIONS)}, got {adaptive!r}")
        size, channels = image_size // 8, scaled(DENSE_CHANNELS, width)
        self.dense = initialize(nn.Linear(LATENT_SIZE, channels * size**2))
        self.map = nn.Unflatten(1, (channels, size, size))
        self.stages = nn.Sequential()
        for index, (after, upsample) in enumerate(CONVOLUTIONS):
            last = index == len(CONVOLUTIONS) - 1
            after = after if last else scaled(after, width)
            convolution = partial(block, **block_options) if index < adaptive else None
            self.stages.append(_stage(channels, after, upsample, last, convolution))
            channels = after

    def forward(self, latent: Tensor) -> Tensor:
        """Map latents (N, 128) to images (N, 3, S, S)."""
        check_shape("latent", latent, LATENT_SIZE)
        return self.stages(self.map(self.dense(latent)))


def _stage(
    before: int,
    after: int,
    upsample: int,
    last: bool,
    block: Callable[..., nn.Module] | None,
) -> nn.Sequential:
    """Return one row of the table; its convolution is ordinary where there is no block."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    if block is not None:
        layers["conv"] = block(before, after, 3, padding=1, upsample=upsample)
    else:
        layers["upsample"] = nn.Upsample(scale_factor=upsample)
        layers["conv"] = initialize(nn.Conv2d(before, after, 3, padding=1))
    if last:
        layers["activation"] = nn.Tanh()
    else:
        layers["norm"] = nn.BatchNorm2d(after)
        layers["activation"] = nn.ReLU()
    return nn.Sequential(layers)


@register("baseline", "baseline")
def baseline(
    match: re.Match[str],
    image_size: int,
    width: float,
    *,
    wide: bool = False,
    loss: str = "non-saturating",
) -> GAN:
    """Build the network that AdaGAN is compared with: the same, with ordinary convolutions.

    Args:
        match: the name.
        image_size: height and width of the images in pixels, a multiple of 8.
        width: factor on the channels of generator and discriminator.
        wide: take the wide discriminator, see :class:`adaconv.models.sngan.SNGANDiscriminator`.
        loss: name of the loss, a key of :data:`adaconv.losses.LOSSES`.

    Source: Nguyen & Ray, "Generative Adversarial Networks using Adaptive Convolution", 2018, tables
    1 and 2.
    """
    return GAN(
        AdaGANGenerator(image_size, width, adaptive=0),
        SNGANDiscriminator(image_size, width, wide=wide),
        {
            "name": "baseline",
            "image_size": image_size,
            "width": width,
            "wide": wide,
            "loss": loss,
        },
        LATENT_SIZE,
    )


def family(kind: str = "") -> tuple[str, ...]:
    """Return what :func:`register` takes of ``adagan-KIND-KxK`` and ``adagan-KIND-n-KxK``."""
    name = f"adagan-{kind}-" if kind else "adagan-"
    number = r"(?:full-|(?P<adaptive>[123])-)?(?P<kernel>(?:[1-9]\d*)?[13579])x(?P=kernel)"
    published = ("1-3x3", "2-3x3", "3-3x3", "3x3", "5x5", "7x7")
    return (name + number, *(name + member for member in (("3x3",) if kind else published)))


def build(
    match: re.Match[str],
    block: Callable[..., nn.Module],
    image_size: int,
    width: float,
    *,
    wide: bool,
    loss: str,
    **block_options: Any,
) -> GAN:
    """Build a member of a :func:`family`.

    Args:
        match: the name, with the groups ``adaptive`` (n; all four convolutions without it) and
            ``kernel`` (K, the ``adaptive_kernel_size`` of the blocks).
        block: the adaptive blocks.
        image_size: height and width of the images in pixels, a multiple of 8.
        width: factor on the channels of generator and discriminator.
        wide: take the wide discriminator, see :class:`adaconv.models.sngan.SNGANDiscriminator`.
        loss: name of the loss, a key of :data:`adaconv.losses.LOSSES`.
        **block_options: options of the model that are arguments of the blocks.
    """
    generator = AdaGANGenerator(
        image_size,
        width,
        adaptive=int(match["adaptive"] or len(CONVOLUTIONS)),
        block=block,
        adaptive_kernel_size=int(match["kernel"]),
        **block_options,
    )
    config = {
        "name": match[0].replace("-full", ""),
        "image_size": image_size,
        "width": width,
        "wide": wide,
        "loss": loss,
        **block_options,
    }
    return GAN(generator, SNGANDiscriminator(image_size, width, wide=wide), config, LATENT_SIZE)


@register(*family())
def adagan(
    match: re.Match[str],
    image_size: int,
    width: float,
    *,
    wide: bool = False,
    loss: str = "non-saturating",
    regressor: str = "separable",
    negative_slope: float = 0.0,
) -> GAN:
    """Build AdaGAN-KxK or AdaGAN-n-KxK.

    Args:
        match: the name, see :func:`build`.
        image_size: height and width of the images in pixels, a multiple of 8.
        width: factor on the channels of generator and discriminator.
        wide: take the wide discriminator, see :class:`adaconv.models.sngan.SNGANDiscriminator`.
        loss: name of the loss, a key of :data:`adaconv.losses.LOSSES`.
        regressor: see :class:`adaconv.nn.AdaConvBlock`.
        negative_slope: see :class:`adaconv.nn.AdaConvBlock`.

    Source: Nguyen & Ray, "Generative Adversarial Networks using Adaptive Convolution", 2018, tables
    1 and 2.
    """
    options: dict[str, Any] = {"regressor": regressor, "negative_slope": negative_slope}
    return build(match, AdaConvBlock, image_size, width, wide=wide, loss=loss, **options)
