"""Datasets that are one tensor in memory."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset


@dataclass(frozen=True, eq=False)
class Labelled:
    """A batch of items and the class of each."""

    values: Tensor
    """(N, ...)."""
    labels: Tensor
    """int64 (N,)."""

    def __len__(self) -> int:
        return len(self.values)

    def to(self, *args: Any, **options: Any) -> "Labelled":
        """Move both, and convert the values, as :meth:`torch.Tensor.to` does."""
        values = self.values.to(*args, **options)
        return Labelled(values, self.labels.to(values.device))

    def chunk(self, chunks: int) -> tuple["Labelled", ...]:
        """Cut both into parts, as :meth:`torch.Tensor.chunk` does."""
        parts = zip(self.values.chunk(chunks), self.labels.chunk(chunks), strict=True)
        return tuple(Labelled(values, labels) for values, labels in parts)


#: What a step of training takes of the data.
Batch = Tensor | Labelled


@dataclass(frozen=True, eq=False, repr=False)
class TensorData(Dataset[Tensor]):
    """A map-style dataset whose items are the rows of a tensor.

    Attributes:
        name: spec that it was loaded by, such as ``"cifar10"``.
        split: ``"train"``, ``"test"``, or another split of its source.
        licence: what may be done with it, in a few words.
        values: all items as they are stored, along the first dimension.
        labels: class of each item, int64 (N,), where the source has classes.
        classes: names of the classes that ``labels`` counts.
    """

    name: str
    split: str
    licence: str
    values: Tensor
    labels: Tensor | None = None
    classes: Sequence[str] = ()

    @property
    def item_shape(self) -> tuple[int, ...]:
        """Shape of one item: (3, S, S) of an image, (2,) of a point."""
        return tuple(self.values.shape[1:])

    def describe(self) -> str:
        """One line: name, count, size, split, classes and licence."""
        classes = f", {len(self.classes)} classes" if self.classes else ""
        return (
            f"{self.name}: {len(self):,} {self._items()}, {self.split} split{classes}; "
            f"licence: {self.licence}"
        )

    def _items(self) -> str:
        return f"items of shape {self.item_shape}"

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.describe()}>"

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: int) -> Tensor:
        return self.__getitems__([range(len(self))[index]])[0]  # the range checks the bounds

    def __getitems__(self, indices: Sequence[int]) -> Tensor:
        """Return the items at ``indices`` as one float32 tensor, as data loaders ask for them."""
        return self.values[torch.as_tensor(indices)]


class ImageData(TensorData):
    """Colour images: stored as uint8 (N, 3, S, S), read as float32 (3, S, S) in [-1, 1]."""

    @property
    def image_size(self) -> int:
        """S: height and width in pixels."""
        return self.values.shape[-1]

    def _items(self) -> str:
        return f"images of {self.image_size}x{self.image_size}"

    def __getitems__(self, indices: Sequence[int]) -> Tensor:
        """Return the images at ``indices``, float32 (len(indices), 3, S, S) in [-1, 1]."""
        return super().__getitems__(indices).float().div_(127.5).sub_(1)


@dataclass(frozen=True, eq=False, repr=False)
class PointData(TensorData):
    """Points of the plane, stored and read as float32 (2,).

    Attributes:
        centers: means of the Gaussians that they are a mixture of, (K, 2); ``None`` if of none.
        sigma: standard deviation of each of those.
    """

    centers: Tensor | None = None
    sigma: float = 0.0

    def _items(self) -> str:
        return "points"


class LabelledData(Dataset[Labelled]):
    """The items of a dataset with their labels, which it must have.

    Raises:
        ValueError: the dataset has no labels.
    """

    def __init__(self, dataset: TensorData) -> None:
        if dataset.labels is None:
            raise ValueError(f"{dataset.name} has no labels in its split {dataset.split!r}")
        self.dataset, self.labels, self.name = dataset, dataset.labels, dataset.name

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Labelled:
        found = self.__getitems__([range(len(self))[index]])  # the range checks the bounds
        return Labelled(found.values[0], found.labels[0])

    def __getitems__(self, indices: Sequence[int]) -> Labelled:
        """Return the items at ``indices`` and their labels."""
        return Labelled(self.dataset.__getitems__(indices), self.labels[torch.as_tensor(indices)])
