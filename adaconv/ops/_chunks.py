"""Chunks of work: the parts of several tensors that belong together."""

from collections.abc import Sequence

from torch import Tensor

#: Where a tensor is sliced.
Place = tuple[slice, ...]


def cut(tensors: Sequence[Tensor | None], at: Sequence[Place]) -> list[Tensor | None]:
    """Return the part of each tensor at its place; None is passed over."""
    return [None if t is None else t[place] for t, place in zip(tensors, at, strict=True)]
