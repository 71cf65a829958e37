"""AdaGAN of local adaptive convolutions, whose weights are regressed at the points of a grid."""

import re
from typing import Any

from adaconv.models._gan import GAN
from adaconv.models._registry import register
from adaconv.models.adagan import build, family
from adaconv.nn import LocalAdaConvBlock


@register(*family("local"))
def adagan_local(
    match: re.Match[str],
    image_size: int,
    width: float,
    *,
    wide: bool = False,
    loss: str = "non-saturating",
    regressor: str = "separable",
    negative_slope: float = 0.0,
    pitch: int = 4,
    neighbours: int = 4,
) -> GAN:
    """Build AdaGAN-local-KxK or AdaGAN-local-n-KxK: as AdaGAN, of other blocks.

    The table is that of :class:`adaconv.models.adagan.AdaGANGenerator`; its adaptive convolutions
    are :class:`adaconv.nn.LocalAdaConvBlock`, which regress weights for one pixel in ``pitch``².

    Args:
        match: the name, see :func:`adaconv.models.adagan.build`.
        image_size: height and width of the images in pixels, a multiple of 8.
        width: factor on the channels of generator and discriminator.
        wide: take the wide discriminator, see :class:`adaconv.models.sngan.SNGANDiscriminator`.
        loss: name of the loss, a key of :data:`adaconv.losses.LOSSES`.
        regressor: see :class:`adaconv.nn.LocalAdaConvBlock`.
        negative_slope: see :class:`adaconv.nn.LocalAdaConvBlock`.
        pitch: see :class:`adaconv.nn.LocalAdaConvBlock`.
        neighbours: see :class:`adaconv.nn.LocalAdaConvBlock`.

    Source: Nguyen & Ray, "Generative Adversarial Networks using Adaptive Convolution", 2018, which
    proposes weights at sparse locations and a learned interpolation to lower the cost.

    Deviations: the proposal is one sentence. The grid, its pitch of 4 in every layer and the
    interpolation filter are chosen here.
    """
    options: dict[str, Any] = {
        "regressor": regressor,
        "negative_slope": negative_slope,
        "pitch": pitch,
        "neighbours": neighbours,
    }
    return build(match, LocalAdaConvBlock, image_size, width, wide=wide, loss=loss, **options)
