"""Grids of images, as PNG files."""

import io
import math
import os

import torch
import torch.nn.functional as F
from torch import Tensor

from adaconv.data._extra import extra
from adaconv.train.files import replacing


def grid(images: Tensor, *, columns: int | None = None, gap: int = 2) -> Tensor:
    """Lay images out row by row, on white.

    Args:
        images: (N, 3, H, W) in [-1, 1]; what lies outside is clipped.
        columns: images in a row; by default as many as make the grid square, or as near as can be.
        gap: pixels between two images and around the grid.

    Returns:
        bytes, (rows * (H + gap) + gap, columns * (W + gap) + gap, 3).

    Raises:
        ValueError: these are not colour images, or there are none.

    Example:
        >>> grid(torch.zeros(6, 3, 8, 8)).shape
        torch.Size([22, 32, 3])
    """
    if images.dim() != 4 or images.shape[1] != 3 or len(images) == 0:
        raise ValueError(f"images must be (N, 3, H, W) with N > 0, got {tuple(images.shape)}")
    columns = columns or math.ceil(math.sqrt(len(images)))
    rows = math.ceil(len(images) / columns)
    pixels = images.detach().float().cpu().add(1).mul(127.5).round().clamp(0, 255)
    pixels = F.pad(pixels, (0, gap, 0, gap), value=255)
    pixels = F.pad(pixels, (0, 0, 0, 0, 0, 0, 0, rows * columns - len(images)), value=255)
    height, width = pixels.shape[2:]
    canvas = pixels.reshape(rows, columns, 3, height, width).permute(2, 0, 3, 1, 4)
    canvas = canvas.reshape(3, rows * height, columns * width)
    return F.pad(canvas, (gap, 0, gap, 0), value=255).permute(1, 2, 0).to(torch.uint8)


def save_grid(images: Tensor, path: str | os.PathLike[str], *, columns: int | None = None) -> None:
    """Write :func:`grid` of the images to ``path`` as a PNG, which appears whole or not at all."""
    with extra("writing images"):
        from PIL import Image
    encoded = io.BytesIO()
    Image.fromarray(grid(images, columns=columns).numpy()).save(encoded, format="PNG")
    with replacing(path) as file:
        file.write(encoded.getvalue())
