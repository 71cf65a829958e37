"""Grids of images and maps of points, as PNG files."""

import io
import math
import os

import torch
import torch.nn.functional as F
from torch import Tensor

from adaconv.data._extra import extra
from adaconv.train.files import replacing


def as_bytes(images: Tensor) -> Tensor:
    """Return values in [-1, 1] as bytes on the CPU; what lies outside is clipped, bytes stay."""
    if images.dtype == torch.uint8:
        return images.cpu()
    return images.detach().float().cpu().add(1).mul(127.5).round().clamp(0, 255).byte()


def grid(images: Tensor, *, columns: int | None = None, gap: int = 2) -> Tensor:
    """Lay images out row by row, on white.

    Args:
        images: (N, 3, H, W), see :func:`as_bytes`.
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
    pixels = as_bytes(images)
    pixels = F.pad(pixels, (0, gap, 0, gap), value=255)
    pixels = F.pad(pixels, (0, 0, 0, 0, 0, 0, 0, rows * columns - len(images)), value=255)
    height, width = pixels.shape[2:]
    canvas = pixels.reshape(rows, columns, 3, height, width).permute(2, 0, 3, 1, 4)
    canvas = canvas.reshape(3, rows * height, columns * width)
    return F.pad(canvas, (gap, 0, gap, 0), value=255).permute(1, 2, 0)


def scatter(points: Tensor, *, side: int = 256, extent: float = 2.5) -> Tensor:
    """Draw points of the plane in black on white, y upwards; what lies outside is left out.

    Args:
        points: (N, 2).
        side: pixels along an edge.
        extent: the picture shows [-extent, extent]².

    Returns:
        bytes, (side, side, 3).

    Raises:
        ValueError: these are not points.

    Example:
        >>> (scatter(torch.zeros(5, 2)) == 0).sum().item()  # one pixel of three channels
        3
    """
    if points.dim() != 2 or points.shape[1] != 2:
        raise ValueError(f"points must be (N, 2), got {tuple(points.shape)}")
    places = (points.detach().float().cpu() / extent + 1).mul(side / 2).floor().long()
    x, y = places[((places >= 0) & (places < side)).all(1)].unbind(1)
    canvas = torch.full((side, side, 3), 255, dtype=torch.uint8)
    canvas[side - 1 - y, x] = 0
    return canvas


def save_samples(
    samples: Tensor, path: str | os.PathLike[str], *, columns: int | None = None
) -> None:
    """Write a :func:`grid` of images, or a :func:`scatter` of points, as :func:`save_grid` does."""
    _save(scatter(samples) if samples.dim() == 2 else grid(samples, columns=columns), path)


def save_grid(images: Tensor, path: str | os.PathLike[str], *, columns: int | None = None) -> None:
    """Write :func:`grid` of the images to ``path`` as a PNG, which appears whole or not at all."""
    _save(grid(images, columns=columns), path)


def png(pixels: Tensor) -> bytes:
    """Encode bytes, (H, W, 3), as a PNG."""
    with extra("writing images"):
        from PIL import Image
    encoded = io.BytesIO()
    Image.fromarray(pixels.numpy()).save(encoded, format="PNG")
    return encoded.getvalue()


def _save(pixels: Tensor, path: str | os.PathLike[str]) -> None:
    content = png(pixels)
    with replacing(path) as file:
        file.write(content)
