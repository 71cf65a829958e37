"""The semi-supervised GAN: a classifier of K classes whose extra class is what was generated."""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from adaconv.losses import classification
from adaconv.models._gan import GAN
from adaconv.models._improved import FeatureMatching
from adaconv.models._layers import check_shape, check_width, doublings, scaled
from adaconv.models._registry import register
from adaconv.models._shown import Judged, Shown
from adaconv.models._switches import attach
from adaconv.models._tricks import Trick
from adaconv.models.dcgan import LATENT_SIZE, DCGANGenerator

if TYPE_CHECKING:
    from adaconv.data import Batch, Labelled, TensorData

#: (channels, kernel size, stride, padding) of the discriminator; None is dropout of 0.5.
CONVOLUTIONS = (
    *((96, 3, stride, 1) for stride in (1, 1, 2)), None,
    *((192, 3, stride, 1) for stride in (1, 1, 2)), None,
    *((192, size, 1, 0) for size in (3, 1, 1)),
)  # fmt: skip
SLOPE = 0.2


class ImprovedDiscriminator(nn.Module):
    """Images (N, 3, S, S) in [-1, 1] → logits (N,), by way of the logits of K classes.

    With ``l(x)`` the logits of the classes and 0 the one of the class of generated samples, the
    logit of an image being real, of whatever class, is ``D(x) = log Σ_k exp l_k(x)``.

    ==================================================  ============
    layer                                               output
    ==================================================  ============
    dropout of 0.2, two 3×3 convolutions                96 × S²
    3×3 convolution, /2, dropout of 0.5                 96 × (S/2)²
    two 3×3 convolutions                                192 × (S/2)²
    3×3 convolution, /2, dropout of 0.5                 192 × (S/4)²
    3×3 convolution without padding                     192 × (S/4-2)²
    two 1×1 convolutions, mean over the pixels          192
    dense                                               K
    ==================================================  ============

    Weight normalisation and a leaky ReLU of slope 0.2 are in each convolution, the first in the
    dense layer too.
    """

    def __init__(self, image_size: int = 32, width: float = 1.0, classes: int = 10) -> None:
        super().__init__()
        doublings(image_size, least=16)
        check_width(width)
        self.image_size, before = image_size, 3
        layers: list[nn.Module] = [nn.Dropout(0.2)]
        for row in CONVOLUTIONS:
            if row is None:
                layers.append(nn.Dropout(0.5))
                continue
            after = scaled(row[0], width)
            layers += [nn.Conv2d(before, after, *row[1:]), nn.LeakyReLU(SLOPE)]
            before = after
        self.layers = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head: nn.Module = nn.Linear(before, classes)
        self.apply(_initialize)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                weight_norm(layer)

    def classify(self, images: Tensor) -> Tensor:
        """Map images (N, 3, S, S) to the logits of their classes, (N, K)."""
        check_shape("images", images, 3, self.image_size, self.image_size)
        return self.head(self.layers(images))

    def forward(self, images: Tensor) -> Tensor:
        """Map images (N, 3, S, S) to logits (N,)."""
        return self.classify(images).logsumexp(1)


def _initialize(layer: nn.Module) -> None:
    """Weights from N(0, 0.05²), biases 0."""
    if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        nn.init.normal_(layer.weight, 0.0, 0.05)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


class LabelledSubset(Trick):
    """``2 E[-log p(y|x)]`` over a few examples with labels, in the discriminator's loss.

    The rest of the loss is that of real and generated samples without labels, which the published
    code halves: the sum is twice what is published.

    Args:
        count: number of examples.
        image_size: S of their images.

    Attributes:
        images: bytes (count, 3, S, S).
        labels: their classes, -1 before they are chosen.
    """

    images: Tensor
    labels: Tensor

    def __init__(self, count: int, image_size: int) -> None:
        super().__init__()
        shape = (count, 3, image_size, image_size)
        self.register_buffer("images", torch.zeros(shape, dtype=torch.uint8))
        self.register_buffer("labels", torch.full((count,), -1))

    def discriminator_term(self, gan: GAN, real: Judged, fake: Judged) -> Tensor:
        """Return the term for as many examples, drawn at random, as there are real samples."""
        return 2 * self.cross_entropy(gan, len(real.logits))

    def cross_entropy(self, gan: GAN, count: int) -> Tensor:
        """Return ``E[-log p(y|x)]`` of ``count`` examples, drawn at random."""
        drawn = torch.randint(len(self.labels), (count,)).to(self.labels.device)
        like = next(gan.parameters())
        images = self.images[drawn].to(like.dtype).div(127.5).sub(1)
        logits = cast(ImprovedDiscriminator, gan.discriminator).classify(images)
        labels = self.labels[drawn]
        gan.observed["labelled_accuracy"] = (logits.argmax(1) == labels).float().mean()
        return classification(logits, labels)

    def choose(self, dataset: "TensorData", each: int, classes: int) -> None:
        """Take the first ``each`` examples of every class.

        Raises:
            ValueError: a class has fewer.
        """
        labels = cast(Tensor, dataset.labels)
        rows = []
        for label in range(classes):
            found = (labels == label).nonzero().flatten()
            if len(found) < each:
                raise ValueError(
                    f"labels_per_class must be at most {len(found)}, as many as {dataset.name} has "
                    f"of its class {dataset.classes[label]!r}, got {each}"
                )
            rows.append(found[:each])
        chosen = torch.cat(rows)
        self.images.copy_(dataset.values[chosen])
        self.labels.copy_(labels[chosen])


class ImprovedGAN(GAN):
    """A GAN that classifies: from the labels of a subset, and all images without theirs."""

    batch_size = 100
    prior = "uniform"
    labelled = True
    tested = True

    def __init__(
        self, generator: nn.Module, discriminator: nn.Module, config: dict[str, Any]
    ) -> None:
        count = config["labels_per_class"] * config["classes"]
        self.supervised = config["supervised"]
        subset = LabelledSubset(count, config["image_size"])
        super().__init__(generator, discriminator, config, LATENT_SIZE, [subset])
        if self.supervised:
            self.sides = ("discriminator",)

    def prepare(self, dataset: "TensorData") -> None:
        """Choose the examples whose labels are known."""
        self._subset.choose(dataset, self.config["labels_per_class"], self.config["classes"])

    @property
    def _subset(self) -> LabelledSubset:
        return cast(LabelledSubset, self.tricks[0])

    def show_real(self, real: "Batch") -> Shown:
        """Return samples without their labels."""
        return Shown(real if isinstance(real, Tensor) else real.values)

    def discriminator_loss(self, real: "Batch", latent: Tensor) -> Tensor:
        """Return the loss on all samples, or under ``supervised`` on those with labels alone."""
        if self.supervised:
            return self._subset.cross_entropy(self, len(real))
        return super().discriminator_loss(real, latent)

    def evaluate(self, real: "Labelled") -> dict[str, Tensor]:
        """Return the share of images whose class is found."""
        logits = cast(ImprovedDiscriminator, self.discriminator).classify(real.values)
        return {"accuracy": (logits.argmax(1) == real.labels).float().mean()}

    def optimizer(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """Return a new optimizer of one side."""
        return torch.optim.Adam(parameters, lr=3e-4, betas=(0.5, 0.999), fused=True)


@register("improved-gan", "improved-gan")
def improved_gan(
    match: re.Match[str],
    image_size: int,
    width: float,
    *,
    loss: str = "non-saturating",
    classes: int = 10,
    labels_per_class: int = 100,
    supervised: bool = False,
    matching: bool = True,
) -> GAN:
    """Build the semi-supervised GAN of the improved techniques.

    The generator is that of :mod:`adaconv.models.dcgan`, which has the published layers: a dense
    layer to 512 × 4² is a transposed convolution of one pixel. Its last layer is weight normalised.

    Args:
        match: the name.
        image_size: height and width of the images in pixels: 16, 32, 64 or so on.
        width: factor on the channels of generator and discriminator.
        loss: name of the loss of samples without labels, a key of :data:`adaconv.losses.LOSSES`.
        classes: K; the command line takes it from the data.
        labels_per_class: how many examples of each class have labels.
        supervised: train the classifier on those alone, for comparison: there is no game.
        matching: train the generator by feature matching, as published for this.

    Raises:
        ValueError: an argument is out of range.

    Source: Salimans et al., "Improved Techniques for Training GANs", 2016, section 5; networks and
    settings from the authors' code for CIFAR-10.

    Deviations: weights are normalised, but not scaled by a first batch of data; the labelled
    examples are the first of each class. Noise comes from U(-1, 1). Minibatch discrimination, as
    published for samples that look good, is a trick to be switched on.
    """
    for name, value, least in (("classes", classes, 2), ("labels_per_class", labels_per_class, 1)):
        if value < least:
            raise ValueError(f"{name} must be at least {least}, got {value}")
    config: dict[str, Any] = {
        "name": "improved-gan",
        "image_size": image_size,
        "width": width,
        "loss": loss,
        "classes": classes,
        "labels_per_class": labels_per_class,
        "supervised": supervised,
        "matching": matching,
    }
    discriminator = ImprovedDiscriminator(image_size, width, classes)
    generator = DCGANGenerator(image_size, width, bias=True).apply(_initialize)
    weight_norm(cast(nn.Module, generator.layers[-2]), dim=1)
    gan = ImprovedGAN(generator, discriminator, config)
    if matching:
        attach(gan, FeatureMatching())
    return gan
