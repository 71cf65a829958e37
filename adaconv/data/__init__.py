"""Data to train on: named sources held in memory, and a stream of batches that can be resumed.

>>> from adaconv import data
>>> ring = data.load("toy2d:ring")
>>> batches = data.loader(ring, batch_size=64, seed=0)
>>> next(batches).shape
torch.Size([64, 2])
"""

from adaconv.data.datasets import Batch, ImageData, Labelled, LabelledData, PointData, TensorData
from adaconv.data.registry import is_points, load, names
from adaconv.data.stream import Stream, loader

__all__ = [
    "Batch",
    "ImageData",
    "Labelled",
    "LabelledData",
    "PointData",
    "Stream",
    "TensorData",
    "is_points",
    "load",
    "loader",
    "names",
]
