"""``adaconv sample``."""

import contextlib
from pathlib import Path

import torch
import tyro

import adaconv
from adaconv.cli._usage import UsageError, check_backends, set_threads, usage
from adaconv.train import Checkpoint, save_samples
from adaconv.train import sample as generate


def sample(
    checkpoint: tyro.conf.Positional[Path],
    *,
    out: Path = Path("grid.png"),
    count: int = 64,
    seed: int = 0,
    backend: str | None = None,
    threads: int | None = None,
) -> None:
    """Draw images with a trained generator, into one PNG file.

    For example:
        adaconv sample runs/adagan-3x3-twemoji/checkpoint.pt
        adaconv sample runs/adagan-3x3-twemoji/checkpoint.pt --count 16 --seed 1 --out sixteen.png

    Args:
        checkpoint: File that `adaconv train` wrote.
        out: File to write the grid of images to; replaced if it exists.
        count: Number of images.
        seed: Seed of the latent vectors; the same seed draws the same images.
        backend: Backend of the adaptive convolutions; by default the best that runs.
        threads: CPU threads to compute with; by default one per core.
    """
    if count < 1:
        raise UsageError(f"--count must be at least 1, got {count}")
    if not out.parent.is_dir():
        raise UsageError(f"--out must lie in an existing folder, got {out}")
    check_backends(backend)
    set_threads(threads)
    with usage():
        gan = Checkpoint.load(checkpoint).create()
    latent = gan.latent(count, generator=torch.Generator().manual_seed(seed))
    with contextlib.nullcontext() if backend is None else adaconv.backend(backend):
        save_samples(generate(gan, latent), out)
    print(f"{count} images of {gan.name} in {out}")
