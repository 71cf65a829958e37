"""The speed-ups as a bar chart."""

import io
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from adaconv_bench.race import FORWARD, STEP
from adaconv_bench.registry import OURS
from adaconv_bench.results import Report, Row, replace_file

COLOURS = ("#2f6db5", "#e08a2c", "#4f9a5b", "#a14d9b", "#8a6d5a", "#6b7a8f")


def draw(report: Report, path: Path) -> None:
    """Draw how many times faster adaconv is, by case, direction and provider, to a PNG file."""
    figure = Figure(figsize=(10, 4.6), dpi=150, layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    providers = list(dict.fromkeys(r.provider for r in report.rows if r.provider != OURS))
    for panel, direction in zip(panels, (FORWARD, STEP), strict=True):
        rows = [row for row in report.rows if row.direction == direction]
        bars(panel, rows, providers)
        panel.set_title(direction.replace("+", " + "))
    panels[0].set_ylabel("times faster than the other")
    if providers:
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=6)
    figure.suptitle(_title(report), fontsize=10)
    image = io.BytesIO()
    figure.savefig(image, format="png")
    replace_file(path, image.getvalue())


def bars(panel: Axes, rows: list[Row], providers: list[str]) -> None:
    """Draw the ratios of one direction into ``panel``, in a group of bars for each case."""
    cases = {row.case: f"{row.case}\n{row.title}".replace(" @", "\n@") for row in rows}
    width = 0.8 / max(1, len(providers))
    for index, provider in enumerate(providers):
        speedup = {r.case: r.speedup.medians for r in rows if r.provider == provider and r.speedup}
        offset = (index - (len(providers) - 1) / 2) * width
        drawn = panel.bar(
            [place + offset for place in range(len(cases))],
            [speedup.get(case, 0.0) for case in cases],
            width,
            label=f"against {provider}",
            color=COLOURS[index % len(COLOURS)],
        )
        panel.bar_label(
            drawn,
            [f"{speedup[c]:.1f}" if c in speedup else "" for c in cases],
            fontsize=8,
            padding=3,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0},
        )
    panel.axhline(1, color="black", linewidth=0.8, linestyle=":")
    panel.set_xticks(range(len(cases)), list(cases.values()), fontsize=8)
    panel.spines[["top", "right"]].set_visible(False)


def _title(report: Report) -> str:
    machine = report.machine
    return (
        f"{report.operator}, {report.preset}, batch {report.rows[0].batch}, {machine['dtype']}: "
        f"speed-up of adaconv {machine['adaconv']}\n"
        f"{machine['cpu']}, {machine['threads']} threads, torch {machine['torch']}"
    )
