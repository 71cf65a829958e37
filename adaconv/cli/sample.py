"""``adaconv sample``."""

import contextlib
from pathlib import Path

import tyro

import adaconv
from adaconv.cli._usage import UsageError, check_backends, set_threads, usage
from adaconv.nn._names import unknown
from adaconv.train import Checkpoint
from adaconv.train.sampling import stream
from adaconv.train.writing import WRITERS


def sample(
    checkpoint: tyro.conf.Positional[Path],
    *,
    out: Path = Path("grid.png"),
    count: int = 64,
    seed: int = 0,
    batch_size: int = 64,
    backend: str | None = None,
    threads: int | None = None,
) -> None:
    """Draw any number of images with a trained generator: a grid, single pictures, or an array.

    For example:
        adaconv sample runs/adagan-3x3-twemoji/checkpoint.safetensors
        adaconv sample runs/adagan-3x3-twemoji/checkpoint.safetensors --seed 1 --out one.png
        adaconv sample runs/adagan-3x3-twemoji/checkpoint.safetensors --count 50000 --out many.npz
        adaconv sample runs/adagan-3x3-twemoji/checkpoint.safetensors --count 500 --out folder

    Args:
        checkpoint: File that `adaconv train` wrote.
        out: NAME.png is one grid of all; NAME.npz is an array of bytes, arr_0, (N, H, W, 3);
            a name without suffix is a new or empty folder, for a PNG of each. A file is replaced.
        count: Number of images; but for a grid, any number needs the same memory.
        seed: Seed of the latent vectors; it decides the first image, the second, and so on.
        batch_size: Images that are computed at once; the images do not depend on it.
        backend: Backend of the adaptive convolutions; by default the best that runs.
        threads: CPU threads to compute with; by default one per core.
    """
    for name, value in (("count", count), ("batch-size", batch_size)):
        if value < 1:
            raise UsageError(f"--{name} must be at least 1, got {value}")
    if not out.parent.is_dir():
        raise UsageError(f"--out must lie in an existing folder, got {out}")
    if out.suffix not in WRITERS:
        raise UsageError(unknown("kind of file", out.suffix, [s or "a folder" for s in WRITERS]))
    check_backends(backend)
    set_threads(threads)
    with usage():
        gan = Checkpoint.load(checkpoint).create()
        with contextlib.nullcontext() if backend is None else adaconv.backend(backend):
            WRITERS[out.suffix](stream(gan, count, seed, batch_size), count, out)
    print(f"{count} images of {gan.name} in {out}")
