"""The first GAN: dense networks, the generator of rectifiers against a discriminator of maxout."""

import re
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from adaconv.models._gan import GAN
from adaconv.models._layers import check_image_size, check_shape, check_width, scaled
from adaconv.models._points import LATENT_SIZE as POINT_LATENT_SIZE
from adaconv.models._points import PointDiscriminator, PointGenerator
from adaconv.models._registry import register
from adaconv.nn._names import unknown

LATENT_SIZE = 100
#: Units of each hidden layer of the generator.
RECTIFIERS = 1200
#: Units of each hidden layer of the discriminator, and linear pieces of a unit.
MAXOUT_UNITS, MAXOUT_PIECES = 240, 5

#: option ``optimizer`` → parameters → optimizer
OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.5),
    "adam": lambda parameters: torch.optim.Adam(
        parameters, lr=2e-4, betas=(0.5, 0.999), fused=True
    ),
}


class Maxout(nn.Module):
    """``max_k (W_k x + b_k)``, (N, inputs) → (N, units): the largest of several linear pieces.

    Source: Goodfellow et al., "Maxout Networks", 2013.
    """

    def __init__(self, inputs: int, units: int, pieces: int = MAXOUT_PIECES) -> None:
        super().__init__()
        self.pieces = nn.Linear(inputs, units * pieces)
        self.shape = nn.Unflatten(1, (units, pieces))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs) to (N, units)."""
        return self.shape(self.pieces(x)).amax(2)


class MLPGenerator(nn.Module):
    """Latents (N, 100) → images (N, 3, S, S) in [-1, 1].

    =====================  =======
    layer                  output
    =====================  =======
    dense, ReLU            1200
    dense, ReLU            1200
    dense, tanh            3 × S²
    =====================  =======
    """

    def __init__(self, image_size: int = 32, width: float = 1.0) -> None:
        super().__init__()
        check_image_size(image_size)
        check_width(width)
        hidden = scaled(RECTIFIERS, width)
        self.layers = nn.Sequential(
            nn.Linear(LATENT_SIZE, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, 3 * image_size**2),
            nn.Tanh(),
            nn.Unflatten(1, (3, image_size, image_size)),
        )
        self.apply(lambda layer: _uniform(layer, 0.05))

    def forward(self, latent: Tensor) -> Tensor:
        """Map latents (N, 100) to images (N, 3, S, S)."""
        check_shape("latent", latent, LATENT_SIZE)
        return self.layers(latent)


class MLPDiscriminator(nn.Module):
    """Images (N, 3, S, S) in [-1, 1] → logits (N,).

    ======================================  =======
    layer                                   output
    ======================================  =======
    dropout of 0.2, maxout of 5 pieces      240
    dropout of 0.5, maxout of 5 pieces      240
    dropout of 0.5, dense                   1
    ======================================  =======
    """

    def __init__(self, image_size: int = 32, width: float = 1.0) -> None:
        super().__init__()
        check_image_size(image_size)
        check_width(width)
        self.image_size = image_size
        units = scaled(MAXOUT_UNITS, width)
        self.layers = nn.Sequential(
            nn.Flatten(),
            nn.Dropout(0.2),
            Maxout(3 * image_size**2, units),
            nn.Dropout(0.5),
            Maxout(units, units),
            nn.Dropout(0.5),
        )
        self.head = nn.Linear(units, 1)
        self.apply(lambda layer: _uniform(layer, 0.005))

    def forward(self, images: Tensor) -> Tensor:
        """Map images (N, 3, S, S) to logits (N,)."""
        check_shape("images", images, 3, self.image_size, self.image_size)
        return self.head(self.layers(images)).squeeze(1)


def _uniform(layer: nn.Module, bound: float) -> None:
    if isinstance(layer, nn.Linear):
        nn.init.uniform_(layer.weight, -bound, bound)
        nn.init.zeros_(layer.bias)


class MLPGAN(GAN):
    """The GAN of dense networks; what trains it is one of :data:`OPTIMIZERS`."""

    batch_size = 100

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        config: dict[str, Any],
        latent_size: int,
    ) -> None:
        if config["optimizer"] not in OPTIMIZERS:
            raise ValueError(unknown("optimizer", config["optimizer"], OPTIMIZERS))
        super().__init__(generator, discriminator, config, latent_size)
        self.simultaneous = config["simultaneous"]

    def optimizer(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """Return a new optimizer of one side."""
        return OPTIMIZERS[self.config["optimizer"]](parameters)


@register("gan", "gan")
def gan(
    match: re.Match[str],
    image_size: int,
    width: float,
    *,
    loss: str = "non-saturating",
    optimizer: str | None = None,
    simultaneous: bool = False,
    points: bool = False,
) -> GAN:
    """Build the first GAN: dense networks.

    Args:
        match: the name.
        image_size: height and width of the images in pixels.
        width: factor on the units of all hidden layers.
        loss: name of the loss, a key of :data:`adaconv.losses.LOSSES`: "minimax" is the game of
            equation 1, "non-saturating" what the authors trained with.
        optimizer: "sgd" has a momentum of 0.5 and a rate of 0.1; "adam". By default the first for
            images, as published, the second for points.
        simultaneous: both networks move at once, instead of in turn.
        points: generate points of the plane, as ``toy2d`` has them, instead of images; the networks
            are those of :mod:`adaconv.models._points`.

    Source: Goodfellow et al., "Generative Adversarial Nets", 2014; networks and settings from the
    authors' code for MNIST, latents from N(0, 1) included. Their number k of discriminator steps,
    1, is :attr:`GAN.n_dis`.

    Deviations: images are in [-1, 1], so tanh stands for the sigmoid, of which it is the rescaled
    form; three channels for one. The momentum stays 0.5 (published: to 0.7 over 250 epochs), the
    rate 0.1 (published: divided by 1.000004 in each step), and the output starts without bias
    (published: from the marginals of the data).
    """
    config = {
        "name": "gan",
        "image_size": image_size,
        "width": width,
        "loss": loss,
        "optimizer": optimizer or ("adam" if points else "sgd"),
        "simultaneous": simultaneous,
        "points": points,
    }
    if points:
        return MLPGAN(PointGenerator(width), PointDiscriminator(width), config, POINT_LATENT_SIZE)
    networks = MLPGenerator(image_size, width), MLPDiscriminator(image_size, width)
    return MLPGAN(*networks, config, LATENT_SIZE)
