"""Writers of the true formats of the data sets, for a few pictures."""

import gzip
import io
import pickle
import struct
import tarfile
from pathlib import Path
from typing import ClassVar

import numpy as np


def idx(array: np.ndarray) -> bytes:
    """An IDX file of unsigned bytes."""
    sizes = struct.pack(f">{array.ndim}i", *array.shape)
    return bytes((0, 0, 8, array.ndim)) + sizes + array.tobytes()


def write_fashion_mnist(folder: Path, prefix: str, images: np.ndarray, labels: np.ndarray) -> None:
    """The two gzipped files of a split."""
    for name, array in (("images-idx3", images), ("labels-idx1", labels)):
        (folder / f"{prefix}-{name}-ubyte.gz").write_bytes(gzip.compress(idx(array)))


class _Python2Pickler(pickle._Pickler):
    """Writes bytes as Python 2 wrote its strings, which protocol 2 of Python 3 does not."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_string(self, value: bytes) -> None:
        self.write(pickle.BINSTRING + struct.pack("<i", len(value)) + value)

    dispatch[bytes] = save_string


def python2_pickle(value: object) -> bytes:
    """What Python 2 and the NumPy of its time wrote."""
    stream = io.BytesIO()
    _Python2Pickler(stream, protocol=2).dump(value)
    return stream.getvalue().replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")


def cifar10_batch(labels: np.ndarray, images: np.ndarray) -> bytes:
    """A batch of the python version."""
    return python2_pickle(
        {
            b"batch_label": b"training batch 1 of 5",
            b"labels": labels.tolist(),
            b"data": images.reshape(len(images), -1),
            b"filenames": [b"picture.png"] * len(images),
        }
    )


def cifar10_binary_batch(labels: np.ndarray, images: np.ndarray) -> bytes:
    """A batch of the binary version."""
    pixels = images.reshape(len(images), -1)
    return np.concatenate([labels[:, None].astype(np.uint8), pixels], 1).tobytes()


def stl10_images(images: np.ndarray) -> bytes:
    """Pictures by channel, column, row."""
    return images.transpose(0, 1, 3, 2).tobytes()


def write_folder(folder: Path, files: dict[str, bytes]) -> Path:
    """An extracted archive."""
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def write_archive(path: Path, folder: str, files: dict[str, bytes]) -> Path:
    """A gzipped tar archive of one folder."""
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path
