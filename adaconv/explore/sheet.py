"""Rows of images with names and captions, as one PNG file."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from adaconv.data._extra import extra
from adaconv.train import grid
from adaconv.train.files import save_figure

#: Inches of an image, of a line of captions, of the names at the left, and of the title.
CELL, CAPTION, NAMES, TITLE = 0.8, 0.2, 1.7, 0.45
#: Pixels between images.
GAP = 2


@dataclass(frozen=True)
class Row:
    """Images beside each other."""

    name: str
    images: Tensor
    """(N, 3, S, S) in [-1, 1], N > 0."""
    captions: Sequence[str] = ()
    """A short text below each image, for the first images or all."""


def save_sheet(rows: Sequence[Row], title: str, out: str | os.PathLike[str]) -> None:
    """Draw rows of images below each other to a PNG, which appears whole or not at all.

    Args:
        rows: the rows; they may differ in length.
        title: what is seen.
        out: the PNG file.

    Raises:
        ValueError: there are no rows.
    """
    if not rows:
        raise ValueError("a sheet needs a row of images at least")
    with extra("drawing sheets"):
        from matplotlib.figure import Figure
    longest = max(len(row.images) for row in rows)
    heights = [CELL + CAPTION * bool(row.captions) for row in rows]
    width, height = NAMES + CELL * longest + 0.1, TITLE + sum(heights)
    figure = Figure(figsize=(width, height), dpi=110)
    figure.text(0.1 / width, 1 - 0.3 / height, title, fontsize=10, weight="bold")
    top = height - TITLE
    for row, high in zip(rows, heights, strict=True):
        count = len(row.images)
        place = (NAMES / width, (top - CELL) / height, CELL * count / width, CELL / height)
        panel = figure.add_axes(place)
        panel.imshow(
            grid(row.images, columns=count, gap=GAP).numpy(), aspect="auto", interpolation="nearest"
        )
        panel.axis("off")
        figure.text(
            0.1 / width, (top - CELL / 2) / height, row.name, fontsize=8, va="center", wrap=True
        )
        for index, caption in enumerate(row.captions):
            panel.text(
                (index + 0.5) / count, -0.02, caption, fontsize=7, ha="center", va="top",
                transform=panel.transAxes,
            )  # fmt: skip
        top -= high
    save_figure(figure, out)
