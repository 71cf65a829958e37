"""What a source of data is, and the decorator that makes a function one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from adaconv.data.datasets import TensorData


@dataclass(frozen=True)
class Request:
    """What a source is asked for.

    Attributes:
        spec: the whole spec, ``"name"`` or ``"name:argument"``.
        argument: the part of the spec behind its colon, or ``""``.
        image_size: wanted height and width in pixels.
        split: one of the source's splits.
        root: where to look for files, instead of the usual places.
    """

    spec: str
    argument: str
    image_size: int
    split: str
    root: Path | None


@dataclass(frozen=True)
class Source:
    """A named source: its specs, its splits, the specs whose items have labels, how it loads."""

    specs: Sequence[str]
    splits: Sequence[str]
    labelled: Sequence[str]
    load: Callable[[Request], TensorData]

    def accepts(self, spec: str) -> bool:
        """Whether ``spec`` is one of this source's; an argument in capitals stands for any text."""
        name, _, argument = spec.partition(":")
        return spec in self.specs or (
            bool(argument)
            and any(s.startswith(f"{name}:") and s.partition(":")[2].isupper() for s in self.specs)
        )


#: Every source whose module has been imported, by the first of its specs.
SOURCES: dict[str, Source] = {}


def source(
    *specs: str, splits: Sequence[str], labelled: Sequence[str] = ()
) -> Callable[[Callable[[Request], TensorData]], Callable[[Request], TensorData]]:
    """Register the decorated function as the source of ``specs``.

    Args:
        *specs: what it is asked for by.
        splits: names of its splits.
        labelled: those of the specs whose items have labels.
    """

    def register(load: Callable[[Request], TensorData]) -> Callable[[Request], TensorData]:
        SOURCES[specs[0]] = Source(specs, splits, labelled, load)
        return load

    return register
