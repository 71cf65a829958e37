"""Sources by name. Every module in ``adaconv/data/sources`` is one; there is no list to keep."""

import difflib
import importlib
import os
import pkgutil
from collections.abc import Sequence
from pathlib import Path

from adaconv.data import sources
from adaconv.data._source import SOURCES, Request
from adaconv.data.datasets import TensorData

for _module in pkgutil.iter_modules(sources.__path__):
    importlib.import_module(f"{sources.__name__}.{_module.name}")


def names(*, labelled: bool = False) -> list[str]:
    """Every spec that :func:`load` understands; capitals stand for a text of your own.

    Args:
        labelled: leave out those whose items have no labels.

    >>> "twemoji" in names() and "folder:PATH" in names()
    True
    >>> "folder:PATH" in names(labelled=True)
    False
    """
    return sorted(
        spec
        for source in SOURCES.values()
        for spec in (source.labelled if labelled else source.specs)
    )


def is_points(spec: str) -> bool:
    """Whether the items of ``spec`` are points of the plane, instead of images.

    >>> is_points("toy2d:ring"), is_points("twemoji")
    (True, False)
    """
    return spec.startswith("toy2d:")


def load(
    spec: str,
    *,
    image_size: int = 32,
    split: str = "train",
    root: str | os.PathLike[str] | None = None,
) -> TensorData:
    """Load the data called ``spec`` into memory.

    Args:
        spec: one of :func:`names`, such as ``"twemoji"`` or ``"folder:/my/pictures"``.
        image_size: height and width of the images in pixels; larger pictures are averaged by area,
            smaller ones enlarged bicubically. Without effect on ``toy2d``, whose items are points.
        split: ``"train"``, ``"test"``, or another split of the source.
        root: folder that holds the source's files, or the archive itself. Without it they are
            looked for in ``$ADACONV_DATA``, in ``~/.cache/adaconv``, and where the operating
            system's packages put them.

    Returns:
        An :class:`~adaconv.data.ImageData` of float32 (3, S, S) images in [-1, 1]; for ``toy2d`` a
        :class:`~adaconv.data.PointData` of float32 (2,) points.

    Raises:
        ValueError: no data or split has that name, the size is not positive, or a file is damaged.
        TypeError: an argument is of the wrong type.
        FileNotFoundError: the files are not on this machine; the message says what to put where.
        ModuleNotFoundError: an optional package is missing; the message says what to install.

    Example:
        >>> load("toy2d:grid", split="test").describe()
        'toy2d:grid: 10,000 points, test split, 25 classes; licence: none needed (generated)'
    """
    if not isinstance(spec, str):
        raise TypeError(f"the name of the data must be a text, got {spec!r}")
    if not isinstance(image_size, int) or isinstance(image_size, bool):
        raise TypeError(f"image_size must be an integer, got {image_size!r}")
    if image_size < 1:
        raise ValueError(f"image_size must be at least 1, got {image_size}")
    found = next((s for s in SOURCES.values() if s.accepts(spec)), None)
    if found is None:
        raise ValueError(f"no data is called {spec!r}; {_instead(spec, names())}")
    if split not in found.splits:
        raise ValueError(f"{spec} has no split {split!r}; {_instead(str(split), found.splits)}")
    argument = spec.partition(":")[2]
    place = None if root is None else Path(root).expanduser()
    return found.load(Request(spec, argument, image_size, split, place))


def _instead(got: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(got, known, n=1, cutoff=0.5)
    return (f'did you mean "{near[0]}"? ' if near else "") + f"there are: {', '.join(known)}"
