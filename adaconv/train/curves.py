"""Curves of what training runs measured, as a PNG file."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adaconv.data._extra import extra
from adaconv.train.files import save_figure

if TYPE_CHECKING:  # an optional package
    from matplotlib.axes import Axes

Rows = Sequence[Mapping[str, Any]]

#: Of a panel: its title, and the metrics that it shows.
PANELS = {
    "losses": ("discriminator_loss", "generator_loss"),
    "norms of gradients": ("discriminator_gradient", "generator_gradient", "field_norm"),
    "share of samples for which a loss is flat": (
        "discriminator_saturation",
        "generator_saturation",
    ),
    "estimate of the Wasserstein distance": ("wasserstein_estimate",),
    "diversity of samples, that of the data being 1": ("diversity",),
    "modes hit": ("modes",),
    "share of samples of high quality": ("quality",),
}
#: Panels whose measure is drawn on a logarithmic axis.
LOGARITHMIC = {"norms of gradients"}
COLOURS = ("#2f6db5", "#e08a2c", "#4f9a5b", "#a14d9b", "#8a6d5a", "#6b7a8f")
STYLES = ("-", "--", ":")
WIDE = 2


def read_metrics(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Read the lines of a ``metrics.jsonl``, or of the one in a run's folder.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it has no line, or one that is no metrics.
    """
    path = Path(path)
    path = path / "metrics.jsonl" if path.is_dir() else path
    if not path.is_file():
        raise FileNotFoundError(f"there are no metrics at {path}")
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except ValueError as error:
        raise ValueError(f"{path} holds something else than metrics: {error}") from error
    if not rows or not all(isinstance(row, dict) and "step" in row for row in rows):
        raise ValueError(f"{path} must hold lines of metrics, each with its step")
    return rows


def plot_metrics(runs: Mapping[str, Rows], out: str | os.PathLike[str]) -> None:
    """Draw what runs measured against the step: a panel for each kind, a colour for each run.

    Args:
        runs: lines of metrics by the name of their run.
        out: the PNG file, which appears whole or not at all.

    Raises:
        ValueError: there is nothing to draw.
    """
    with extra("plots"):
        from matplotlib.figure import Figure
    found = {key for rows in runs.values() for row in rows for key in row}
    shown = {title: [k for k in keys if k in found] for title, keys in PANELS.items()}
    shown = {title: keys for title, keys in shown.items() if keys}
    if not shown:
        raise ValueError(
            f"there is nothing to draw in the metrics of {', '.join(runs) or 'no run'}"
        )
    rows = -(-len(shown) // WIDE)
    figure = Figure(figsize=(5.5 * WIDE, 2.6 * rows + 0.6), dpi=110, layout="constrained")
    panels = list(figure.subplots(rows, WIDE, squeeze=False).flat)
    for panel, (title, keys) in zip(panels, shown.items(), strict=False):
        _draw(panel, title, keys, runs)
    for panel in panels[len(shown) :]:
        panel.remove()
    save_figure(figure, out)


def _draw(panel: "Axes", title: str, keys: Sequence[str], runs: Mapping[str, Rows]) -> None:
    for index, (name, rows) in enumerate(runs.items()):
        for key, style in zip(keys, STYLES, strict=False):
            points = [(row["step"], row[key]) for row in rows if key in row]
            if points:
                what = key.split("_")[0] if len(keys) > 1 else ""
                panel.plot(
                    *zip(*points, strict=True), style, color=COLOURS[index % len(COLOURS)],
                    linewidth=1.2, label=f"{name} {what}".strip(),
                )  # fmt: skip
    panel.set_title(title, loc="left", fontsize=10)
    panel.set_xlabel("step", fontsize=8)
    panel.tick_params(labelsize=8)
    panel.legend(fontsize=7, frameon=False)
    panel.spines[["top", "right"]].set_visible(False)
    if title in LOGARITHMIC:
        panel.set_yscale("log")
