"""Sweeps of latent codes: one code changes along a row, all else stays."""

import torch

from adaconv.explore.sheet import Row
from adaconv.models import GAN
from adaconv.train import sample


def sweeps(gan: GAN, rows: int, *, generator: torch.Generator) -> list[Row]:
    """Return rows of samples along which a model varies its codes.

    Args:
        gan: a model with codes: its ``columns`` is the number of values of a sweep, and
            ``shown_latent(n, generator)`` draws the latents of ``n / columns`` rows.
        rows: number of rows.
        generator: source of what stays the same along a row.

    Raises:
        ValueError: the model has no codes.

    Source: Chen et al., "InfoGAN", 2016, figure 2.
    """
    if gan.columns is None:
        raise ValueError(f"{gan.name} has no latent codes to sweep")
    latent = gan.shown_latent(rows * gan.columns, generator)
    images = sample(gan, latent).split(gan.columns)
    return [Row(f"sweep {index}", strip) for index, strip in enumerate(images)]


def has_codes(gan: GAN) -> bool:
    """Whether a model has codes to sweep."""
    return gan.columns is not None
