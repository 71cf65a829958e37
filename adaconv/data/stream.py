"""An endless stream of batches, in an order that a seed determines, resumable anywhere."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate

from adaconv.data.datasets import Batch, Labelled


def loader(dataset: Dataset[Any], batch_size: int, *, seed: int, workers: int = 0) -> "Stream":
    """Stream batches of ``dataset`` without end; see :class:`Stream`."""
    return Stream(dataset, batch_size, seed=seed, workers=workers)


class Stream(Iterator[Batch]):
    """Batches without end: shuffled anew every epoch, an incomplete last batch left out.

    The order is a function of ``seed`` and the epoch; the number of workers and the global random
    state neither change it nor are changed by it. :meth:`state_dict` names the next batch exactly,
    whatever the workers have fetched ahead.

    Args:
        dataset: map-style dataset; if it has ``__getitems__``, that is called once a batch.
        batch_size: items in a batch.
        seed: seed of the order, at least 0.
        workers: processes that fetch ahead. 0 fetches in this process: the fastest for the datasets
            of this package, which lie in memory.

    Attributes:
        epoch: epoch of the next batch, from 0.
        offset: batches of that epoch that have been given.

    Raises:
        ValueError: a number is out of range, or the dataset is smaller than one batch.

    Example:
        >>> from adaconv import data
        >>> stream = data.loader(data.load("toy2d:ring"), batch_size=4, seed=0)
        >>> _ = next(stream)
        >>> state = stream.state_dict()
        >>> second = next(stream)
        >>> stream.load_state_dict(state)
        >>> torch.equal(next(stream), second)
        True
    """

    def __init__(
        self, dataset: Dataset[Any], batch_size: int, *, seed: int, workers: int = 0
    ) -> None:
        # torch's Dataset declares no length, though every map-style one has it
        self.length = len(dataset)  # type: ignore[arg-type]
        for name, value, least in (
            ("batch_size", batch_size, 1), ("seed", seed, 0), ("workers", workers, 0),
        ):  # fmt: skip
            if not isinstance(value, int):
                raise TypeError(f"{name} must be an integer, got {value!r}")
            if value < least:
                raise ValueError(f"{name} must be at least {least}, got {value}")
        if self.length < batch_size:
            raise ValueError(
                f"a batch must not be larger than its dataset: got batch_size={batch_size} and "
                f"{self.length} items in {getattr(dataset, 'name', 'the dataset')}"
            )
        self.dataset = dataset
        self.batch_size = batch_size
        self.seed = seed
        self.workers = workers
        self.batches_per_epoch = self.length // batch_size
        self.epoch = 0
        self.offset = 0
        self._fetched: Iterator[Batch] | None = None

    def __iter__(self) -> "Stream":
        return self

    def __next__(self) -> Batch:
        if self._fetched is None:
            self._fetched = self._fetch()
        batch = next(self._fetched)
        self.offset += 1
        if self.offset == self.batches_per_epoch:
            self.epoch, self.offset = self.epoch + 1, 0
        return batch

    def state_dict(self) -> dict[str, int]:
        """The position of the next batch, and what it depends on."""
        return {"epoch": self.epoch, "offset": self.offset, **self._identity()}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go to a position that :meth:`state_dict` returned.

        Raises:
            ValueError: the state is of another stream: seed, batch size or dataset's length differ.
        """
        expected = self.state_dict()
        if state.keys() != expected.keys():
            raise ValueError(f"a state must have the keys {list(expected)}, got {list(state)}")
        for key, value in self._identity().items():
            if state[key] != value:
                raise ValueError(
                    f"the state is of another stream: got {key}={state[key]}, expected {value}"
                )
        self.epoch, self.offset = state["epoch"], state["offset"]
        self._fetched = None  # what was fetched ahead is of the old position

    def _identity(self) -> dict[str, int]:
        return {"seed": self.seed, "batch_size": self.batch_size, "length": self.length}

    def _fetch(self) -> Iterator[Batch]:
        """Fetch from the present position on; one iterator for all epochs starts workers once."""
        return iter(
            DataLoader(
                self.dataset,
                batch_sampler=_Order(self),
                num_workers=self.workers,
                collate_fn=_collate,
                # without a generator of its own the loader draws from the global random state
                generator=torch.Generator().manual_seed(self.seed),
            )
        )


class _Order(Sampler[list[int]]):
    """The indices of every batch from the stream's position on."""

    def __init__(self, stream: Stream) -> None:
        # not the stream itself: it moves on while workers fetch ahead
        self.seed, self.batch_size, self.length = stream.seed, stream.batch_size, stream.length
        self.batches_per_epoch = stream.batches_per_epoch
        self.epoch, self.offset = stream.epoch, stream.offset

    def __iter__(self) -> Iterator[list[int]]:
        epoch, offset = self.epoch, self.offset
        while True:
            order = np.random.default_rng((self.seed, epoch)).permutation(self.length)
            for batch in range(offset, self.batches_per_epoch):
                yield order[batch * self.batch_size :][: self.batch_size].tolist()
            epoch, offset = epoch + 1, 0


def _collate(items: Batch | list[Tensor]) -> Batch:
    """Pass a batch on that the dataset has put together; stack what came item by item."""
    return items if isinstance(items, Tensor | Labelled) else default_collate(items)
