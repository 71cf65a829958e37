"""AC-GAN: a generator that is told the class, and a discriminator that has to find it."""

import re
from itertools import pairwise
from typing import TYPE_CHECKING

from torch import Tensor, nn

from adaconv.losses import classification
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
from adaconv.models.dcgan import DCGANGenerator

if TYPE_CHECKING:
    from adaconv.models._shown import Judged

NOISE = 100
#: Channels next to the images, which double wherever the resolution halves; units in front.
BASE, DENSE_UNITS = 48, 384
#: Channels after each convolution of the discriminator; every second one halves the resolution.
CHANNELS = (16, 32, 64, 128, 256, 512)


class ACGANGenerator(nn.Sequential):
    """Latents (N, 100 + K), noise and a one-hot class → images (N, 3, S, S) in [-1, 1].

    ===================================================  ============
    layer                                                S = 32
    ===================================================  ============
    dense                                                384
    4×4 transposed convolution, batch norm, ReLU         192 × 4²
    4×4 transposed convolution, ×2, batch norm, ReLU     96 × 8²
    4×4 transposed convolution, ×2, batch norm, ReLU     48 × 16²
    4×4 transposed convolution, ×2, tanh                 3 × 32²
    ===================================================  ============
    """

    def __init__(self, image_size: int = 32, width: float = 1.0, classes: int = 10) -> None:
        check_width(width)
        units = scaled(DENSE_UNITS, width)
        convolutions = DCGANGenerator(
            image_size, width, latent_size=units, base=BASE, kernel_size=4, bias=True
        )
        super().__init__(nn.Linear(NOISE + classes, units), convolutions)
        self.apply(initialize_normal)
        self.latent_size = NOISE + classes

    def forward(self, latent: Tensor) -> Tensor:
        """Map latents (N, 100 + K) to images (N, 3, S, S)."""
        check_shape("latent", latent, self.latent_size)
        return super().forward(latent)


class ACGANDiscriminator(nn.Module):
    """Images (N, 3, S, S) in [-1, 1] → logits (N,); its features also tell the class.

    =================================================  ============
    layer                                              output
    =================================================  ============
    3×3 convolution, /2                                16 × (S/2)²
    3×3 convolution, batch norm                        32 × (S/2)²
    3×3 convolution, /2, batch norm                    64 × (S/4)²
    3×3 convolution, batch norm                        128 × (S/4)²
    3×3 convolution, /2, batch norm                    256 × (S/8)²
    3×3 convolution, batch norm                        512 × (S/8)²
    dense, and beside it the classifier: dense         1, K
    =================================================  ============

    A leaky ReLU of slope 0.2 and dropout of 0.5 follow each convolution.
    """

    def __init__(self, image_size: int = 32, width: float = 1.0, classes: int = 10) -> None:
        super().__init__()
        check_image_size(image_size, 8)
        check_width(width)
        self.image_size = image_size
        channels = [3, *(scaled(c, width) for c in CHANNELS)]
        layers: list[nn.Module] = []
        for index, (before, after) in enumerate(pairwise(channels)):
            layers.append(nn.Conv2d(before, after, 3, 2 - index % 2, padding=1, bias=index == 0))
            layers += [nn.BatchNorm2d(after)] if index else []
            layers += [nn.LeakyReLU(0.2), nn.Dropout(0.5)]
        features = channels[-1] * (image_size // 8) ** 2
        self.layers = nn.Sequential(*layers, nn.Flatten())
        self.classifier = nn.Linear(features, classes)
        self.head = nn.Linear(features, 1)
        self.apply(initialize_normal)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (N, 3, S, S) to logits (N,)."""
        check_shape("images", images, 3, self.image_size, self.image_size)
        return self.head(self.layers(images)).squeeze(1)


class AuxiliaryClassifier(Trick):
    """Both networks also minimise :func:`adaconv.losses.classification` of what they deal with.

    Source: Odena et al., "Conditional Image Synthesis with Auxiliary Classifier GANs", 2017,
    equations 2 and 3.
    """

    def discriminator_term(self, gan: GAN, real: "Judged", fake: "Judged") -> Tensor:
        """Return the cross entropies of real and generated samples."""
        gan.observed["class_accuracy"] = _accuracy(gan, real)
        return _cross_entropy(gan, real) + _cross_entropy(gan, fake)

    def generator_term(self, gan: GAN, real: "Judged | None", fake: "Judged") -> Tensor:
        """Return the cross entropy of the generated samples."""
        return _cross_entropy(gan, fake)


def _cross_entropy(gan: GAN, judged: "Judged") -> Tensor:
    return classification(_class_logits(gan, judged.features), judged.labels)


def _accuracy(gan: GAN, judged: "Judged") -> Tensor:
    """The share of samples whose class is found."""
    found = _class_logits(gan, judged.features.detach()).argmax(1)
    return (found == judged.labels).float().mean()


def _class_logits(gan: GAN, features: Tensor) -> Tensor:
    return gan.discriminator.get_submodule("classifier")(features)


class ACGAN(CodedGAN):
    """A GAN that is trained with labels, in batches of 100."""

    batch_size = 100
    labelled = True


@register("acgan", "acgan")
def acgan(
    match: re.Match[str],
    image_size: int,
    width: float,
    *,
    loss: str = "non-saturating",
    classes: int = 10,
) -> GAN:
    """Build AC-GAN.

    Args:
        match: the name.
        image_size: height and width of the images in pixels: 8, 16, 32, 64 or so on.
        width: factor on the channels of generator and discriminator.
        loss: name of the loss of the source, a key of :data:`adaconv.losses.LOSSES`.
        classes: K; the command line takes it from the data.

    Raises:
        ValueError: there are fewer than two classes.

    Source: Odena et al., "Conditional Image Synthesis with Auxiliary Classifier GANs", 2017; the
    networks as published code has them for CIFAR-10.

    Deviations: the table of the paper was not at hand. Windows of 4×4 in the generator are those of
    that code, and so is that nothing is between its dense layer and the next; 100 latents of noise
    come before the class. No noise is added to the discriminator's activations.
    """
    codes = Codes((classes,))
    config = {
        "name": "acgan",
        "image_size": image_size,
        "width": width,
        "loss": loss,
        "classes": classes,
    }
    return ACGAN(
        ACGANGenerator(image_size, width, classes),
        ACGANDiscriminator(image_size, width, classes),
        config,
        NOISE,
        codes,
        tricks=[AuxiliaryClassifier()],
    )
