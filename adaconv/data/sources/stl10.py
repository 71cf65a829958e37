"""STL-10: 100,000 unlabelled and 8,000 labelled test pictures, 96x96."""

from typing import BinaryIO

import numpy as np
import torch

from adaconv.data import _files, _pictures
from adaconv.data._source import Request, source
from adaconv.data.datasets import ImageData

CLASSES = (
    "airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck",
)  # fmt: skip
SIDE = 96
RECORD = 3 * SIDE * SIDE
CHUNK = 256  # pictures resized at a time: the full-size ones are never in memory together
FILES = {"train": ("unlabeled_X.bin",), "test": ("test_X.bin", "test_y.bin")}
CANDIDATES = ("stl10_binary", "stl10_binary.tar.gz")
HOW = (
    "Download stl10_binary.tar.gz from https://cs.stanford.edu/~acoates/stl10/; "
    "the archive is read as it is, extracted or not."
)


@source("stl10", splits=tuple(FILES), labelled=("stl10",))
def load(request: Request) -> ImageData:
    """Read the binary version, as an archive or a folder; the train split is the unlabelled one.

    The literature trains GANs on it at 48x48: ``load("stl10", image_size=48)``, 0.7 GB in memory.
    """
    container = _files.find("stl10", request.root, CANDIDATES, HOW)
    pixels, *classes = wanted = FILES[request.split]
    arrays = {}
    for name, stream, size in _files.members(container, wanted):
        where = f"{name} in {container}"
        arrays[name] = (
            _read_images(stream, size, where, request.image_size)
            if name == pixels
            else _read_labels(stream, size, where)
        )
    images = arrays[pixels]
    labels = arrays[classes[0]] if classes else None
    if labels is not None and len(labels) != len(images):
        raise ValueError(f"{container} must label {len(images)} images, got {len(labels)} labels")
    return ImageData(
        name=request.spec,
        split=request.split,
        licence="none stated; cite Coates et al. 2011",
        values=torch.from_numpy(images),
        labels=None if labels is None else torch.from_numpy(labels),
        classes=() if labels is None else CLASSES,
    )


def _read_images(stream: BinaryIO, size: int, where: str, image_size: int) -> np.ndarray:
    """Resize the pictures of a file; each is stored by channel, then column, then row."""
    count = _files.count_records(size, RECORD, where)
    images = np.empty((count, 3, image_size, image_size), np.uint8)
    for start in range(0, count, CHUNK):
        chunk = images[start : start + CHUNK]
        content = _files.read_exactly(stream, len(chunk) * RECORD, where)
        columns = np.frombuffer(content, np.uint8).reshape(-1, 3, SIDE, SIDE)
        chunk[:] = _pictures.resize_all(columns.transpose(0, 1, 3, 2), image_size)
    return images


def _read_labels(stream: BinaryIO, size: int, where: str) -> np.ndarray:
    """Read one byte a picture; the file counts the classes from 1."""
    return np.frombuffer(_files.read_exactly(stream, size, where), np.uint8).astype(np.int64) - 1
