"""Pictures into uint8 tensors of one size."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from adaconv.data._extra import extra

if TYPE_CHECKING:
    from PIL.Image import Image, Resampling

#: Pillow's modes of more than 8 bits a channel: converting them to RGB would clip their values.
DEEP_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N", "F")


def decode_all(paths: Iterable[Path], size: int) -> Tensor:
    """Decode picture files into uint8 (N, 3, size, size); see :func:`decode`."""
    return torch.from_numpy(np.stack([decode(path, size) for path in paths]))


def decode(path: Path, size: int) -> np.ndarray:
    """Decode one picture: upright, composited on white, its central square resized.

    Args:
        path: the file.
        size: height and width of the result in pixels.

    Returns:
        uint8 (3, size, size).

    Raises:
        ValueError: the file is truncated or no picture, or has more than 8 bits a channel.
        ModuleNotFoundError: Pillow is missing.
    """
    with extra("reading pictures"):
        from PIL import Image, ImageOps
    try:
        with Image.open(path) as file:
            file.load()
            picture = ImageOps.exif_transpose(file)
    except Exception as error:  # decoders raise all kinds of errors on damaged files
        raise ValueError(f"{path} is truncated, damaged or no picture: {error}") from error
    if picture.mode in DEEP_MODES:
        raise ValueError(f"{path} must have 8 bits a channel, got a picture of mode {picture.mode}")
    square = ImageOps.fit(_on_white(picture), (size, size), _resampling(min(picture.size), size))
    return np.asarray(square).transpose(2, 0, 1)


def resize_all(images: np.ndarray, size: int) -> np.ndarray:
    """Resize square images, uint8 (N, C, S, S), to (N, C, size, size)."""
    side = images.shape[-1]
    if side == size:
        return images
    with extra("resizing pictures"):
        from PIL import Image
    resampling = _resampling(side, size)
    planes = [
        np.asarray(Image.fromarray(plane).resize((size, size), resampling))
        for plane in images.reshape(-1, side, side)
    ]
    return np.stack(planes).reshape(*images.shape[:2], size, size)


def _resampling(side: int, size: int) -> "Resampling":
    """Mean over the area under a pixel when shrinking; when enlarging that would repeat pixels."""
    from PIL.Image import Resampling

    return Resampling.BOX if size <= side else Resampling.BICUBIC


def _on_white(picture: "Image") -> "Image":
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    from PIL import Image

    canvas = Image.new("RGBA", picture.size, "white")
    canvas.alpha_composite(picture.convert("RGBA"))
    return canvas.convert("RGB")
