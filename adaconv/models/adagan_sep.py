"""AdaGAN of separable adaptive convolutions, which regress far fewer weights for a pixel."""

import re
from typing import Any

from adaconv.models._gan import GAN
from adaconv.models._registry import register
from adaconv.models.adagan import build, family
from adaconv.nn import AdaSeparableConvBlock


@register(*family("sep"))
def adagan_sep(
    match: re.Match[str],
    image_size: int,
    width: float,
    *,
    wide: bool = False,
    loss: str = "non-saturating",
    regressor: str = "separable",
    negative_slope: float = 0.0,
    pitch: int | None = None,
) -> GAN:
    """Build AdaGAN-sep-KxK or AdaGAN-sep-n-KxK: as AdaGAN, of other blocks.

    The table is that of :class:`adaconv.models.adagan.AdaGANGenerator`; its adaptive convolutions
    are :class:`adaconv.nn.AdaSeparableConvBlock`, so that the generator has 1.8 million
    parameters instead of 11.2.

    Args:
        match: the name, see :func:`adaconv.models.adagan.build`.
        image_size: height and width of the images in pixels, a multiple of 8.
        width: factor on the channels of generator and discriminator.
        wide: take the wide discriminator, see :class:`adaconv.models.sngan.SNGANDiscriminator`.
        loss: name of the loss, a key of :data:`adaconv.losses.LOSSES`.
        regressor: see :class:`adaconv.nn.AdaSeparableConvBlock`.
        negative_slope: see :class:`adaconv.nn.AdaSeparableConvBlock`.
        pitch: see :class:`adaconv.nn.AdaSeparableConvBlock`.

    Source: Nguyen & Ray, "Generative Adversarial Networks using Adaptive Convolution", 2018, which
    proposes a depthwise-separable block to lower the cost.

    Deviations: the proposal is one sentence. That each of the two stages has activated weights of
    its own, and nothing stands between them, is chosen here.
    """
    options: dict[str, Any] = {
        "regressor": regressor,
        "negative_slope": negative_slope,
        "pitch": pitch,
    }
    return build(match, AdaSeparableConvBlock, image_size, width, wide=wide, loss=loss, **options)
