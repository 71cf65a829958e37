"""CIFAR-10: 60,000 colour pictures, 32x32, in ten classes."""

import pickle
from io import BytesIO
from typing import Any, BinaryIO, ClassVar

import numpy as np
import torch

from adaconv.data import _files, _pictures
from adaconv.data._source import Request, source
from adaconv.data.datasets import ImageData

CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
FILES = {"train": tuple(f"data_batch_{i}" for i in range(1, 6)), "test": ("test_batch",)}
PIXELS = 3 * 32 * 32
CANDIDATES = (
    "cifar-10-batches-py",
    "cifar-10-batches-bin",
    "cifar-10-python.tar.gz",
    "cifar-10-binary.tar.gz",
)
HOW = (
    "Download the python or the binary version from https://www.cs.toronto.edu/~kriz/cifar.html; "
    "the archive is read as it is, extracted or not."
)


@source("cifar10", splits=tuple(FILES), labelled=("cifar10",))
def load(request: Request) -> ImageData:
    """Read the python or the binary version, as an archive or as the folder extracted from it."""
    container = _files.find("cifar10", request.root, CANDIDATES, HOW)
    suffix, read = (".bin", _read_binary) if "bin" in container.name else ("", _read_python)
    wanted = [name + suffix for name in FILES[request.split]]
    batches = {
        name: read(stream, size, f"{name} in {container}")
        for name, stream, size in _files.members(container, wanted)
    }
    labels, pixels = (np.concatenate([batches[name][i] for name in wanted]) for i in range(2))
    images = pixels.reshape(-1, 3, 32, 32)
    return ImageData(
        name=request.spec,
        split=request.split,
        licence="none stated; cite Krizhevsky 2009",
        values=torch.from_numpy(_pictures.resize_all(images, request.image_size)),
        labels=torch.from_numpy(labels.astype(np.int64)),
        classes=CLASSES,
    )


Batch = tuple[np.ndarray, np.ndarray]  # labels (N,), pixels (N, 3072)


def _read_binary(stream: BinaryIO, size: int, where: str) -> Batch:
    """A batch of the binary version: for each picture its label and its pixels, one byte each."""
    count = _files.count_records(size, 1 + PIXELS, where)
    content = _files.read_exactly(stream, size, where)
    records = np.frombuffer(content, np.uint8).reshape(count, 1 + PIXELS)
    return records[:, 0], records[:, 1:]


def _read_python(stream: BinaryIO, size: int, where: str) -> Batch:
    """A batch of the python version: a pickled dictionary of Python 2."""
    content = _files.read_exactly(stream, size, where)
    try:
        batch = _Unpickler(BytesIO(content), encoding="bytes").load()
        labels, pixels = np.asarray(batch[b"labels"]), batch[b"data"]
    except Exception as error:  # a damaged pickle raises all kinds of errors
        raise ValueError(
            f"{where} is truncated or no batch of CIFAR-10, got {size:,} bytes: {error}"
        ) from error
    if pixels.shape != (len(labels), PIXELS) or pixels.dtype != np.uint8:
        raise ValueError(
            f"{where} must hold uint8 pixels of shape {(len(labels), PIXELS)}, "
            f"got {pixels.dtype} {pixels.shape}"
        )
    return labels, pixels


class _Unpickler(pickle.Unpickler):
    """Admits what NumPy arrays are pickled by and nothing else: a pickle calls what it names."""

    ADMITTED: ClassVar[dict[tuple[str, str], Any]] = {
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("numpy.core.multiarray", "_reconstruct"): np.zeros(0).__reduce__()[0],
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.ADMITTED:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which is not admitted")
        return self.ADMITTED[module, name]
