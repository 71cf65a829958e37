"""Curves of what training runs measured, as a PNG file, or as pictures of a page."""

import io
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from adaconv.data._extra import extra
from adaconv.train.files import read_rows, save_figure

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
    "accuracy on images that were kept apart": ("test_accuracy",),
    "real images per second": ("images_per_second",),
    "share of a step's time": ("data_share", "discriminator_share", "generator_share"),
}
#: Panels whose measure is drawn on a logarithmic axis.
LOGARITHMIC = {"norms of gradients"}
COLOURS = ("#2f6db5", "#e08a2c", "#4f9a5b", "#a14d9b", "#8a6d5a", "#6b7a8f")
STYLES: tuple[Literal["-", "--", ":"], ...] = ("-", "--", ":")
WIDE = 2
#: Inches of a panel that stands by itself.
SMALL = (3.7, 2.4)
#: What matplotlib would say of itself in a picture.
UNTOLD: dict[str, Any] = dict.fromkeys(("Creator", "Date", "Format", "Type"))


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
    return read_rows(path, "metrics", {"step"})


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
    shown = _shown(runs)
    if not shown:
        raise ValueError(
            f"there is nothing to draw in the metrics of {', '.join(runs) or 'no run'}"
        )
    rows = -(-len(shown) // WIDE)
    figure = Figure(figsize=(5.5 * WIDE, 2.6 * rows + 0.6), dpi=110, layout="constrained")
    panels = list(figure.subplots(rows, WIDE, squeeze=False).flat)
    for panel, (title, keys) in zip(panels, shown.items(), strict=False):
        _draw(panel, title, keys, runs)
        panel.set_title(title, loc="left", fontsize=10)
        panel.legend(fontsize=7, frameon=False)
    for panel in panels[len(shown) :]:
        panel.remove()
    save_figure(figure, out)


def draw_metrics(runs: Mapping[str, Rows]) -> dict[str, str]:
    """Draw what :func:`plot_metrics` does as SVG elements for a page, by the panels' titles.

    Letters and axes take the colour of the text around them; runs have :data:`COLOURS`, which the
    page is to explain.
    """
    with extra("plots"):
        import matplotlib
        from matplotlib.figure import Figure
        from matplotlib.lines import Line2D
    drawn = {}
    for title, keys in _shown(runs).items():
        # letters stay letters; what is defined in one element has names of its own on the page
        with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": title}):
            figure = Figure(figsize=SMALL, layout="constrained")
            panel = figure.subplots()
            _draw(panel, title, keys, runs)
            if len(keys) > 1:
                names = [key.split("_")[0] for key in keys]
                lines = [Line2D([], [], linestyle=style, color="black") for style in STYLES]
                panel.legend(lines[: len(keys)], names, fontsize=7, frameon=False)
            encoded = io.StringIO()
            figure.savefig(encoded, format="svg", transparent=True, metadata=UNTOLD)
        element = encoded.getvalue()
        element = element[element.index("<svg") :].replace("#000000", "currentColor")
        drawn[title] = re.sub(r' id="[^"]+_\d+"', "", element)  # of groups: nothing refers to them
    return drawn


def _shown(runs: Mapping[str, Rows]) -> dict[str, list[str]]:
    """The panels that there is something to draw in, and what."""
    found = {key for rows in runs.values() for row in rows for key in row}
    shown = {title: [k for k in keys if k in found] for title, keys in PANELS.items()}
    return {title: keys for title, keys in shown.items() if keys}


def _draw(panel: "Axes", title: str, keys: Sequence[str], runs: Mapping[str, Rows]) -> None:
    from matplotlib.ticker import LogLocator, NullLocator

    for index, (name, rows) in enumerate(runs.items()):
        for key, style in zip(keys, STYLES, strict=False):
            points = [(row["step"], row[key]) for row in rows if key in row]
            if points:
                what = key.split("_")[0] if len(keys) > 1 else ""
                panel.plot(
                    *zip(*points, strict=True), style, color=COLOURS[index % len(COLOURS)],
                    linewidth=1.2, label=f"{name} {what}".strip(),
                    marker="." if len(points) == 1 else None,
                )  # fmt: skip
    panel.set_xlabel("step", fontsize=8)
    panel.tick_params(labelsize=8)
    panel.spines[["top", "right"]].set_visible(False)
    if title in LOGARITHMIC:
        panel.set_yscale("log")
        panel.yaxis.set_major_locator(LogLocator(subs=(1, 3)))
        panel.yaxis.set_major_formatter("{x:g}")
        panel.yaxis.set_minor_locator(NullLocator())
