"""``adaconv report``."""

from pathlib import Path

import tyro

from adaconv.cli._usage import UsageError, set_threads, usage
from adaconv.report import read_runs, save_report


def report(
    runs: tyro.conf.Positional[tuple[Path, ...]],
    *,
    out: Path = Path("report.html"),
    data: str | None = None,
    profile_steps: int = 2,
    seed: int = 0,
    threads: int | None = None,
) -> None:
    """Write training runs, side by side, as one page of HTML.

    Metrics, scores with their protocol, samples over time, walks between latents, the training
    images nearest to samples, the kernels of a training step, settings and machine. The page needs
    no other file, no network and no JavaScript. What a run does not have is said.

    For example:
        adaconv report runs/adagan-3x3-twemoji
        adaconv report runs/adagan-3x3-twemoji runs/baseline-twemoji --out both.html

    Args:
        runs: Folders that `adaconv train` wrote.
        out: File to write the page to; replaced if it exists.
        data: Training images; by default those that each run names.
        profile_steps: Training steps that are done to see which kernels take the time; 0 leaves
            them out.
        seed: Seed of the latent vectors.
        threads: CPU threads to compute with; by default one per core.
    """
    if not out.parent.is_dir():
        raise UsageError(f"--out must lie in an existing folder, got {out}")
    if profile_steps < 0:
        raise UsageError(f"--profile-steps must be at least 0, got {profile_steps}")
    set_threads(threads)
    with usage():
        found = read_runs(runs)
    save_report(found, out, spec=data, steps=profile_steps, seed=seed)
    print(f"{', '.join(run.name for run in found)}: page in {out}")
