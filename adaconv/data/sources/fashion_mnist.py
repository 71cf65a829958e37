"""Fashion-MNIST: 70,000 grey pictures of clothes, 28x28, in the IDX format."""

import zlib
from pathlib import Path

import numpy as np
import torch

from adaconv.data import _files, _pictures
from adaconv.data._source import Request, source
from adaconv.data.datasets import ImageData

CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
PREFIX = {"train": "train", "test": "t10k"}
BORDER = 2  # pixels: 28 → 32
HOW = (
    "On Debian and Ubuntu: apt install dataset-fashion-mnist. Elsewhere download the four .gz "
    "files from https://github.com/zalandoresearch/fashion-mnist; they are read as they are."
)
DEBIAN = ("/usr/share/datasets/fashion-mnist",)


@source("fashion-mnist", splits=tuple(PREFIX), labelled=("fashion-mnist",))
def load(request: Request) -> ImageData:
    """Read the IDX files, gzipped or not; a black border makes 32x32 of 28x28, gray becomes RGB."""
    images = read_idx(_find(request, "images-idx3-ubyte"), rank=3)
    labels_path = _find(request, "labels-idx1-ubyte")
    labels = read_idx(labels_path, rank=1)
    if len(labels) != len(images):
        raise ValueError(f"{labels_path} must label {len(images)} images, got {len(labels)} labels")
    framed = np.pad(images[:, None], ((0, 0), (0, 0), (BORDER, BORDER), (BORDER, BORDER)))
    gray = torch.from_numpy(_pictures.resize_all(framed, request.image_size))
    return ImageData(
        name=request.spec,
        split=request.split,
        licence="MIT, Zalando SE",
        values=gray.expand(-1, 3, -1, -1),  # one stored channel that is read three times
        labels=torch.from_numpy(labels.astype(np.int64)),
        classes=CLASSES,
    )


def _find(request: Request, kind: str) -> Path:
    name = f"{PREFIX[request.split]}-{kind}"
    return _files.find("fashion-mnist", request.root, (f"{name}.gz", name), HOW, DEBIAN)


def read_idx(path: Path, rank: int) -> np.ndarray:
    """Read an IDX file of unsigned bytes, gzipped or not.

    The format: two zero bytes, the type (8), the rank, the sizes as big-endian int32, the values.

    Raises:
        ValueError: not such a file, or not as long as its sizes say.
    """
    content = _gunzip(path) if path.suffix == ".gz" else path.read_bytes()
    start = 4 + 4 * rank
    magic = bytes((0, 0, 8, rank))
    if len(content) < start or content[:4] != magic:
        raise ValueError(
            f"{path} must be an IDX file that starts with the bytes {magic.hex(' ')} and {rank} "
            f"sizes, got {len(content):,} bytes that start with {content[:4].hex(' ') or 'nothing'}"
        )
    shape = tuple(np.frombuffer(content, ">i4", count=rank, offset=4).tolist())
    expected = start + int(np.prod(shape, dtype=np.int64))
    if len(content) != expected:
        raise ValueError(
            f"{path} is truncated or damaged: got {len(content):,} bytes of content, expected "
            f"{expected:,} for the shape {shape}"
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _gunzip(path: Path) -> bytes:
    """Decompress what there is: of a truncated file the front part, whose length then tells."""
    try:
        return zlib.decompressobj(wbits=31).decompress(path.read_bytes())
    except zlib.error as error:
        raise ValueError(f"{path} is damaged or not compressed by gzip: {error}") from error
