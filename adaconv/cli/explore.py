"""``adaconv explore``."""

from pathlib import Path

import tyro

from adaconv.cli._usage import UsageError, data_of, set_threads, usage
from adaconv.explore import SHEETS, Subject, has_codes, save_sheet
from adaconv.nn._names import unknown
from adaconv.train import Checkpoint


def explore(
    checkpoint: tyro.conf.Positional[Path],
    *,
    show: tuple[str, ...] = (),
    out: Path = Path("explore"),
    data: str | None = None,
    arithmetic: str = "0,1,2 - 3,4,5 + 6,7,8",
    rows: int = 6,
    layer: int | None = None,
    filters: tuple[int, ...] = (),
    seed: int = 0,
    threads: int | None = None,
) -> None:
    """Show what a trained GAN has learned: one PNG for each thing to see.

    samples (numbered), linear and spherical (walks between latents), arithmetic (on means of
    latents), codes (sweeps, of models that have codes), neighbours (the training images nearest to
    samples), features (what the discriminator's filters look for, beside random filters), and
    filters (samples without some of the generator's filters).

    For example:
        adaconv explore runs/dcgan-twemoji/checkpoint.safetensors
        adaconv explore runs/a/checkpoint.safetensors --show arithmetic --arithmetic "3,8 - 2"
        adaconv explore runs/a/checkpoint.safetensors --show filters --layer 2 --filters 0 7 9

    Args:
        checkpoint: File that `adaconv train` wrote.
        show: Which of them; by default all that the model has.
        out: Folder to write the PNG files to; those of an earlier call are replaced.
        data: Training images; by default those that the model was trained on.
        arithmetic: Sum of groups of samples, by their numbers in samples.png.
        rows: Rows of walks, sweeps and neighbours.
        layer: Layer whose filters are looked at: of the discriminator in features (by default the
            last), of the generator in filters (by default 1, the second).
        filters: The generator's filters to switch off; by default the most active quarter.
        seed: Seed of the latent vectors.
        threads: CPU threads to compute with; by default one per core.
    """
    set_threads(threads)
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out must be a folder, got the file {out}")
    with usage():
        for name in show:
            if name not in SHEETS:
                raise ValueError(unknown("sheet", name, SHEETS))
        saved = Checkpoint.load(checkpoint)
        subject = Subject(
            saved.create(),
            data_of(saved, data),
            arithmetic,
            rows,
            layer,
            filters or None,
            seed,
        )
        names = show or [name for name in SHEETS if name != "codes" or has_codes(subject.gan)]
        for name in names:
            found = SHEETS[name].rows(subject)
            out.mkdir(parents=True, exist_ok=True)
            save_sheet(found, f"{subject.gan.name}: {SHEETS[name].title}", out / f"{name}.png")
            print(out / f"{name}.png")
