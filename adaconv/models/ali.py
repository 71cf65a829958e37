"""ALI: an encoder and a decoder against a discriminator of pairs of images and latents."""

import re
from collections.abc import Iterable, Sequence
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from adaconv.models._gan import GAN
from adaconv.models._layers import check_shape, check_width, scaled
from adaconv.models._registry import register
from adaconv.models._shown import Judged, Shown
from adaconv.nn._names import unknown

if TYPE_CHECKING:
    from adaconv.data import Batch

#: Kernel size, stride and channels of a convolution without padding.
Row = tuple[int, int, int]


class Table(NamedTuple):
    """The networks for one data set. What is not said is in :func:`ali`."""

    image_size: int
    latent_size: int
    encoder: tuple[Row, ...]
    """Behind these comes a linear layer: mean and log σ of the latents."""
    decoder: tuple[Row, ...]
    """Transposed convolutions. Behind these comes a linear layer of 3 channels, and tanh."""
    trunk: int
    """How many of the encoder's rows the discriminator has for images, with weights of its own."""
    latent_units: int
    """Units of each of the discriminator's two layers for latents."""
    joint_units: int
    """Units of each of its two layers for both."""
    slope: float
    """Of all leaky ReLUs."""
    dropout: tuple[float, float, float]
    """In the discriminator: in front of the first layers, of the images' others, of all others."""
    maxout: bool = False
    """The discriminator has maxout of two pieces, instead of batch norm and leaky ReLUs."""


SMALL_ENCODER = ((5, 1, 32), (4, 2, 64), (4, 1, 128), (4, 2, 256), (4, 1, 512), (1, 1, 512))
SMALL_DECODER = ((4, 1, 256), (4, 2, 128), (4, 1, 64), (4, 2, 32), (5, 1, 32), (1, 1, 32))
LARGE_ENCODER = ((2, 1, 64), (7, 2, 128), (5, 2, 256), (7, 2, 256), (4, 1, 512))
LARGE_DECODER = ((4, 1, 512), (7, 2, 256), (5, 2, 256), (7, 2, 128), (2, 1, 64))
TABLES = {
    "cifar10": Table(
        32, 64, SMALL_ENCODER, SMALL_DECODER, 5, 512, 1024, 0.1, (0.2, 0.5, 0.5), maxout=True
    ),
    "svhn": Table(32, 256, SMALL_ENCODER, SMALL_DECODER, 5, 512, 1024, 0.01, (0.2, 0.2, 0.2)),
    "celeba": Table(64, 256, LARGE_ENCODER, LARGE_DECODER, 5, 1024, 2048, 0.02, (0.0, 0.0, 0.2)),
}


class ALIEncoder(nn.Module):
    """Images (N, 3, S, S) in [-1, 1] → mean and log σ of their latents, (N, L) each."""

    def __init__(self, table: Table, width: float = 1.0) -> None:
        super().__init__()
        self.image_size = table.image_size
        rows = _scaled(table.encoder, width)
        layers: list[nn.Module] = []
        for (_, _, before), (size, stride, after) in pairwise([(1, 1, 3), *rows]):
            layers += [nn.Conv2d(before, after, size, stride, bias=False), nn.BatchNorm2d(after)]
            layers.append(nn.LeakyReLU(table.slope))
        layers += [nn.Conv2d(rows[-1][2], 2 * table.latent_size, 1), nn.Flatten()]
        self.layers = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map images (N, 3, S, S) to mean and log σ, (N, L) each."""
        check_shape("images", images, 3, self.image_size, self.image_size)
        mean, log_std = self.layers(images).chunk(2, 1)
        return mean, log_std


class ALIDecoder(nn.Module):
    """Latents (N, L) → images (N, 3, S, S) in [-1, 1]."""

    def __init__(self, table: Table, width: float = 1.0) -> None:
        super().__init__()
        self.latent_size = table.latent_size
        rows = _scaled(table.decoder, width)
        layers: list[nn.Module] = [nn.Unflatten(1, (table.latent_size, 1, 1))]
        for (_, _, before), (size, stride, after) in pairwise([(1, 1, table.latent_size), *rows]):
            layers.append(nn.ConvTranspose2d(before, after, size, stride, bias=False))
            layers += [nn.BatchNorm2d(after), nn.LeakyReLU(table.slope)]
        layers += [nn.Conv2d(rows[-1][2], 3, 1), nn.Tanh()]
        self.layers = nn.Sequential(*layers)

    def forward(self, latent: Tensor) -> Tensor:
        """Map latents (N, L) to images (N, 3, S, S)."""
        check_shape("latent", latent, self.latent_size)
        return self.layers(latent)


class ALIDiscriminator(nn.Module):
    """Images (N, 3, S, S) and latents (N, L) → logits (N,) that the latents were encoded."""

    def __init__(self, table: Table, width: float = 1.0) -> None:
        super().__init__()
        self.image_size, self.latent_size = table.image_size, table.latent_size
        first, inner, rest = table.dropout
        trunk = _scaled(table.encoder[: table.trunk], width)
        own = _scaled([(1, 1, table.latent_units)] * 2, width)
        joint = _scaled([(1, 1, table.joint_units)] * 2, width)
        dropouts = [first, *[inner] * (len(trunk) - 1)]
        self.images = _judging(3, trunk, dropouts, table, norm=True)
        self.latents = _judging(table.latent_size, own, [first or rest, rest], table)
        self.joint = _judging(trunk[-1][2] + own[-1][2], joint, [rest, rest], table)
        self.joint.append(nn.Dropout(rest))
        self.head: nn.Module = nn.Conv2d(joint[-1][2], 1, 1)

    def forward(self, shown: tuple[Tensor, Tensor]) -> Tensor:
        """Map images (N, 3, S, S) and latents (N, L) to logits (N,)."""
        images, latent = shown
        check_shape("images", images, 3, self.image_size, self.image_size)
        check_shape("latent", latent, self.latent_size)
        parts = self.images(images), self.latents(latent[..., None, None])
        return self.head(self.joint(torch.cat(parts, 1))).flatten()


class Maxout2d(nn.Conv2d):
    """A convolution whose every output is the larger one of two."""

    def __init__(self, before: int, after: int, size: int, stride: int) -> None:
        super().__init__(before, 2 * after, size, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, before, H, W) to (N, after, OH, OW)."""
        return super().forward(x).unflatten(1, (-1, 2)).amax(2)


def _scaled(rows: Sequence[Row], width: float) -> list[Row]:
    check_width(width)
    return [(size, stride, scaled(channels, width)) for size, stride, channels in rows]


def _judging(
    before: int, rows: Sequence[Row], dropouts: Sequence[float], table: Table, norm: bool = False
) -> nn.Sequential:
    """Return layers of the discriminator; the first is never normalised."""
    layers = nn.Sequential()
    for index, ((size, stride, after), dropout) in enumerate(zip(rows, dropouts, strict=True)):
        layers.append(nn.Dropout(dropout))
        if table.maxout:
            layers.append(Maxout2d(before, after, size, stride))
        else:
            normalised = norm and index > 0
            layers.append(nn.Conv2d(before, after, size, stride, bias=not normalised))
            layers.extend([nn.BatchNorm2d(after)] if normalised else [])
            layers.append(nn.LeakyReLU(table.slope))
        before = after
    return layers


def _initialize(layer: nn.Module) -> None:
    """Weights from N(0, 0.01²), biases 0."""
    if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(layer.weight, 0.0, 0.01)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


class ALI(GAN):
    """A GAN that also encodes: real images are shown with codes, latents with what is made of them.

    The generator's side is the decoder, which is the ``generator``, and the ``encoder``.
    """

    batch_size = 100
    simultaneous = True
    data_sides = frozenset({"discriminator", "generator"})
    columns = 8  # an original and its reconstruction stay side by side

    def __init__(self, table: Table, config: dict[str, Any]) -> None:
        width = config["width"]
        networks = ALIDecoder(table, width), ALIDiscriminator(table, width)
        super().__init__(*networks, config, table.latent_size, loss="non-saturating")
        self.encoder = ALIEncoder(table, width)
        self.apply(_initialize)

    def show_real(self, real: "Batch") -> Shown:
        """Return images, and latents drawn from ``N(μ(x), σ(x)²)``."""
        mean, log_std = self.encoder(real)
        return Shown((real, mean + log_std.exp() * torch.randn_like(mean)))

    def show_fake(self, latent: Tensor) -> Shown:
        """Return the images of latents, and those."""
        return Shown((self.generator(latent), latent))

    def generator_objective(self, real: Judged | None, fake: Judged) -> Tensor:
        """``E[softplus(D(x, ẑ))] + E[softplus(-D(x̃, z))]``: both are to be taken for the other."""
        found = self.loss.generator(fake.logits)
        return found if real is None else found + self.loss.generator(-real.logits)

    def reconstruct(self, real: Tensor) -> Tensor:
        """Return the images of the means of the latents of images."""
        return self.generator(self.encoder(real)[0])

    def parameters_of(self, side: str) -> Iterable[nn.Parameter]:
        """Return what a side learns."""
        own = super().parameters_of(side)
        return own if side == "discriminator" else chain(own, self.encoder.parameters())

    def optimizer(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """Return a new optimizer of one side."""
        return torch.optim.Adam(parameters, lr=1e-4, betas=(0.5, 0.999), fused=True)


@register("ali", "ali")
def ali(match: re.Match[str], image_size: int, width: float, *, table: str | None = None) -> GAN:
    """Build ALI by one of :data:`TABLES`.

    Convolutions have no padding. Batch norm and leaky ReLU follow each one of encoder and decoder.

    Args:
        match: the name.
        image_size: height and width of the images in pixels, 32 or 64.
        width: factor on the channels of all networks.
        table: "cifar10" or "svhn", of 32x32, or "celeba", of 64x64; by default the first that fits.

    Raises:
        ValueError: there is no such table, or none of this size.

    Source: Dumoulin et al., "Adversarially Learned Inference", 2017, algorithm 1 and the tables of
    the appendix; loss and settings from the authors' code.

    Deviations: images are in [-1, 1], so tanh stands for the sigmoid, and the output's bias is one
    for each colour, from 0, where the code has one for each value, from the data. Where tables and
    code disagree: maxout has as many outputs as the tables say, CelebA's discriminator no dropout
    of images, and its first layer no batch norm. Adam's β₂ is 0.999.
    """
    if table is not None and table not in TABLES:
        raise ValueError(unknown("table", table, TABLES))
    fitting = [name for name, t in TABLES.items() if t.image_size == image_size]
    if not fitting or table not in (None, *fitting):
        sizes = ", ".join(f"{t.image_size} ({name})" for name, t in TABLES.items())
        chosen = "" if table is None else f" and table={table!r}"
        raise ValueError(f"image_size must be one of {sizes}; got {image_size}{chosen}")
    name = table or fitting[0]
    config = {"name": "ali", "image_size": image_size, "width": width, "table": name}
    return ALI(TABLES[name], config)
