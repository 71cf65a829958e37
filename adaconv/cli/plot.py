"""``adaconv plot``."""

from pathlib import Path

import tyro

from adaconv.cli._usage import UsageError, usage
from adaconv.train import plot_metrics, read_metrics


def plot(
    runs: tyro.conf.Positional[tuple[Path, ...]],
    *,
    out: Path = Path("metrics.png"),
) -> None:
    """Draw what training runs measured, into one PNG file.

    Losses, norms of gradients, saturation, the diversity of samples, and what else the models and
    data have: the estimate of the Wasserstein distance, modes hit, quality.

    For example:
        adaconv plot runs/adagan-3x3-twemoji
        adaconv plot runs/gan-toy2d-ring runs/consensus-toy2d-ring --out both.png

    Args:
        runs: Folders that `adaconv train` wrote, or their metrics.jsonl.
        out: File to write the curves to; replaced if it exists.
    """
    if not runs:
        raise UsageError("name the folder of a run at least")
    if not out.parent.is_dir():
        raise UsageError(f"--out must lie in an existing folder, got {out}")
    with usage():
        found = {str(run): read_metrics(run) for run in runs}
        plot_metrics(found, out)
    print(f"curves of {len(found)} runs in {out}" if len(found) > 1 else f"curves in {out}")
