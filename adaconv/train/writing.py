"""Any number of samples as files: a grid, an array, or a picture of each."""

import zipfile
from collections.abc import Callable, Iterable
from itertools import chain, count
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from adaconv.train.files import making, replacing
from adaconv.train.images import as_bytes, png, save_samples


def write_grid(batches: Iterable[Tensor], total: int, path: Path) -> None:
    """Write one picture, which is all that is kept in memory, a byte for each value."""
    save_samples(torch.cat([as_bytes(b) if b.dim() == 4 else b for b in batches]), path)


def write_array(batches: Iterable[Tensor], total: int, path: Path) -> None:
    """Write what :func:`numpy.load` reads as ``arr_0``: images are bytes, (N, H, W, 3).

    Points are float32, (N, 2). One batch is kept in memory.
    """
    with replacing(path) as file, zipfile.ZipFile(file, "w") as archive:
        arrays = (
            (as_bytes(b).permute(0, 2, 3, 1) if b.dim() == 4 else b.float().cpu()).numpy()
            for b in batches
        )
        first = next(arrays)
        header = np.lib.format.header_data_from_array_1_0(first[:0])
        header["shape"] = (total, *first.shape[1:])
        header["fortran_order"] = False
        with archive.open("arr_0.npy", "w", force_zip64=True) as array:
            np.lib.format.write_array_header_1_0(array, header)
            for part in chain([first], arrays):
                array.write(part.tobytes())


def write_pictures(batches: Iterable[Tensor], total: int, path: Path) -> None:
    """Write a folder of PNGs, named by their numbers. One batch is kept in memory.

    Raises:
        ValueError: the folder is in use, or the samples are points.
    """
    numbers = count()
    with making(path) as folder:
        for batch in batches:
            if batch.dim() != 4:
                raise ValueError("points have no pictures of their own: write a .png or an .npz")
            for image in as_bytes(batch).permute(0, 2, 3, 1):
                name = f"{next(numbers):0{len(str(total - 1))}d}.png"
                (folder / name).write_bytes(png(image))


#: Suffix of a file, none being a folder → what writes it: (batches of samples, how many, path).
WRITERS: dict[str, Callable[[Iterable[Tensor], int, Path], None]] = {
    ".png": write_grid,
    ".npz": write_array,
    "": write_pictures,
}
