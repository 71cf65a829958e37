"""The sheets that can be drawn of a trained model, by name."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from adaconv import data
from adaconv.explore.arithmetic import arithmetic, parse
from adaconv.explore.dropping import dropping
from adaconv.explore.features import features
from adaconv.explore.interpolation import interpolate
from adaconv.explore.neighbours import neighbours
from adaconv.explore.sheet import Row
from adaconv.explore.sweeps import sweeps
from adaconv.models import GAN
from adaconv.train import sample

#: Samples that numbers refer to, and of a row of them.
NUMBERED, WIDE = 40, 10


@dataclass(frozen=True)
class Subject:
    """A trained model, and what is to be seen of it.

    Raises:
        ValueError: the model makes points.
    """

    gan: GAN
    """A model of images."""
    spec: str
    """Its training images."""
    expression: str = "0,1,2 - 3,4,5 + 6,7,8"
    """What is added up, see :func:`adaconv.explore.parse`."""
    rows: int = 6
    """Rows of walks, sweeps and neighbours."""
    layer: int | None = None
    """Layer of the discriminator, by default the last, or of the generator, by default 1."""
    filters: Sequence[int] | None = None
    """The generator's filters to switch off; by default the most active."""
    seed: int = 0
    """Seed of the latents."""

    def __post_init__(self) -> None:
        if self.gan.config.get("points"):
            raise ValueError(f"this {self.gan.name} makes points: there are no images to look at")
        if not 1 <= self.rows < NUMBERED:
            raise ValueError(f"rows must lie in 1 ... {NUMBERED - 1}, got {self.rows}")

    def generator(self) -> torch.Generator:
        """Return a new source of randomness."""
        return torch.Generator().manual_seed(self.seed)

    @cached_property
    def latent(self) -> Tensor:
        """Latents that numbers refer to."""
        return self.gan.latent(NUMBERED, generator=self.generator())

    @cached_property
    def dataset(self) -> data.TensorData:
        """The training images."""
        return data.load(self.spec, image_size=self.gan.image_size)


def _samples(subject: Subject) -> list[Row]:
    images = sample(subject.gan, subject.latent)
    starts = range(0, len(images), WIDE)
    return [Row("", images[i : i + WIDE], [str(i + j) for j in range(WIDE)]) for i in starts]


def _walks(path: str) -> Callable[[Subject], list[Row]]:
    return lambda subject: interpolate(subject.gan, subject.latent[: subject.rows + 1], path)


def _arithmetic(subject: Subject) -> list[Row]:
    terms = parse(subject.expression)
    return arithmetic(subject.gan, subject.latent, terms, generator=subject.generator())


def _codes(subject: Subject) -> list[Row]:
    return sweeps(subject.gan, subject.rows, generator=subject.generator())


def _neighbours(subject: Subject) -> list[Row]:
    return neighbours(subject.gan, subject.latent[: subject.rows], subject.dataset)


def _features(subject: Subject) -> list[Row]:
    layer = -1 if subject.layer is None else subject.layer
    return features(subject.gan, subject.dataset, layer=layer)


def _filters(subject: Subject) -> list[Row]:
    layer = 1 if subject.layer is None else subject.layer
    return dropping(subject.gan, subject.latent[:WIDE], layer, subject.filters)


class Sheet(NamedTuple):
    """What is seen, and the rows that show it."""

    title: str
    rows: Callable[[Subject], list[Row]]


SHEETS = {
    "samples": Sheet("samples by number", _samples),
    "linear": Sheet("walks along straight lines", _walks("linear")),
    "spherical": Sheet("walks along great circles", _walks("spherical")),
    "arithmetic": Sheet("sums of the means of latents", _arithmetic),
    "codes": Sheet("one code changes along a row", _codes),
    "neighbours": Sheet("samples, and the training images nearest to them", _neighbours),
    "features": Sheet("what excites the discriminator's filters, and which pixels do", _features),
    "filters": Sheet("what the generator draws without some filters", _filters),
}
