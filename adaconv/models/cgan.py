"""CGAN: dense networks, both of which are told the class."""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from adaconv.models._codes import CodedGAN, Codes
from adaconv.models._gan import GAN
from adaconv.models._layers import check_image_size, check_shape, check_width, scaled
from adaconv.models._registry import register
from adaconv.models._shown import Shown
from adaconv.models.gan import Maxout

if TYPE_CHECKING:
    from adaconv.data import Batch

NOISE = 100
#: Rectifiers that the noise, the class, and both together go through.
NOISE_UNITS, CLASS_UNITS, JOINT_UNITS = 200, 1000, 1200
#: (maxout units, linear pieces of each) for the image, the class, and both together.
IMAGE_MAXOUT, CLASS_MAXOUT, JOINT_MAXOUT = (240, 5), (50, 5), (240, 4)


class CGANGenerator(nn.Module):
    """Latents (N, 100 + K), noise and a one-hot class → images (N, 3, S, S) in [-1, 1].

    ==================================  =======
    layer                               output
    ==================================  =======
    of the noise: dense, ReLU           200
    of the class: dense, ReLU           1000
    of both: dense, ReLU, dropout       1200
    dense, tanh                         3 × S²
    ==================================  =======
    """

    def __init__(self, image_size: int = 32, width: float = 1.0, classes: int = 10) -> None:
        super().__init__()
        check_image_size(image_size)
        check_width(width)
        noise, label, joint = (scaled(u, width) for u in (NOISE_UNITS, CLASS_UNITS, JOINT_UNITS))
        self.classes = classes
        self.noise = nn.Sequential(nn.Linear(NOISE, noise), nn.ReLU())
        self.label = nn.Sequential(nn.Linear(classes, label), nn.ReLU())
        self.joint = nn.Sequential(
            nn.Linear(noise + label, joint),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(joint, 3 * image_size**2),
            nn.Tanh(),
            nn.Unflatten(1, (3, image_size, image_size)),
        )

    def forward(self, latent: Tensor) -> Tensor:
        """Map latents (N, 100 + K) to images (N, 3, S, S)."""
        check_shape("latent", latent, NOISE + self.classes)
        noise, label = latent.split([NOISE, self.classes], 1)
        return self.joint(torch.cat([self.noise(noise), self.label(label)], 1))


class CGANDiscriminator(nn.Module):
    """Images (N, 3, S, S) in [-1, 1] and one-hot classes (N, K) → logits (N,).

    ==========================================  =======
    layer                                       output
    ==========================================  =======
    of the image: maxout of 5 pieces            240
    of the class: maxout of 5 pieces            50
    of both: dropout, maxout of 4 pieces        240
    dropout, dense                              1
    ==========================================  =======
    """

    def __init__(self, image_size: int = 32, width: float = 1.0, classes: int = 10) -> None:
        super().__init__()
        check_image_size(image_size)
        check_width(width)
        (image, *pieces), (label, *own), (joint, *both) = (
            (scaled(units, width), count)
            for units, count in (IMAGE_MAXOUT, CLASS_MAXOUT, JOINT_MAXOUT)
        )
        self.image_size, self.classes = image_size, classes
        self.image = nn.Sequential(nn.Flatten(), Maxout(3 * image_size**2, image, *pieces))
        self.label = Maxout(classes, label, *own)
        self.joint = nn.Sequential(
            nn.Dropout(0.5), Maxout(image + label, joint, *both), nn.Dropout(0.5)
        )
        self.head = nn.Linear(joint, 1)

    def forward(self, shown: tuple[Tensor, Tensor]) -> Tensor:
        """Map images (N, 3, S, S) and classes (N, K) to logits (N,)."""
        images, classes = shown
        check_shape("images", images, 3, self.image_size, self.image_size)
        check_shape("classes", classes, self.classes)
        joint = self.joint(torch.cat([self.image(images), self.label(classes)], 1))
        return self.head(joint).squeeze(1)


class CGAN(CodedGAN):
    """A GAN whose discriminator sees each sample together with its class."""

    batch_size = 100
    prior = "uniform"
    labelled = True

    def show_real(self, real: "Batch") -> Shown:
        """Return samples with their classes."""
        return _together(super().show_real(real))

    def show_fake(self, latent: Tensor) -> Shown:
        """Return the samples of ``latent`` with the classes that they were made of."""
        return _together(super().show_fake(latent))

    def optimizer(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """Return a new optimizer of one side."""
        return torch.optim.SGD(parameters, lr=0.1, momentum=0.5)


def _together(shown: Shown) -> Shown:
    return Shown((shown.samples, shown.codes), shown.codes)


@register("cgan", "cgan")
def cgan(
    match: re.Match[str],
    image_size: int,
    width: float,
    *,
    loss: str = "non-saturating",
    classes: int = 10,
) -> GAN:
    """Build CGAN: the first GAN, given labels.

    Args:
        match: the name.
        image_size: height and width of the images in pixels.
        width: factor on the units of all hidden layers.
        loss: name of the loss, a key of :data:`adaconv.losses.LOSSES`.
        classes: K; the command line takes it from the data.

    Raises:
        ValueError: there are fewer than two classes.

    Source: Mirza & Osindero, "Conditional Generative Adversarial Nets", 2014, section 4.1.

    Deviations: images are in [-1, 1] and of three channels, so tanh stands for the sigmoid; noise
    is drawn from U(-1, 1). The rate stays 0.1 (published: divided by 1.00004 in each step) and the
    momentum 0.5 (published: to 0.7), weights start as PyTorch's, and G is trained by the
    non-saturating loss where the paper writes the minimax one, which is an option.
    """
    codes = Codes((classes,))
    config = {
        "name": "cgan",
        "image_size": image_size,
        "width": width,
        "loss": loss,
        "classes": classes,
    }
    generator = CGANGenerator(image_size, width, classes)
    return CGAN(generator, CGANDiscriminator(image_size, width, classes), config, NOISE, codes)
