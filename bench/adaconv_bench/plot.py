"""Plots of results from their CSV file alone: ``python -m adaconv_bench.plot IN.csv OUT.png``.

Results of a sweep are drawn as rates against what is varied, the cost of adaptivity as time and
memory against channels, others as speed-ups in bars.
"""

import io
import itertools
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from adaconv_bench import database
from adaconv_bench.database import Record
from adaconv_bench.race import BACKWARD, FORWARD, STEP
from adaconv_bench.registry import OURS
from adaconv_bench.results import CLIFF, replace_file

COLOURS = ("#2f6db5", "#e08a2c", "#4f9a5b", "#a14d9b", "#8a6d5a", "#6b7a8f")

WIDE = 4  #: panels of a sweep beside each other


def draw(lines: Sequence[Record], path: Path) -> None:
    """Draw results to a PNG file.

    Raises:
        ValueError: there are none.
    """
    if not lines:
        raise ValueError("there are no results to plot")
    if lines[0]["operator"] == "cost":
        figure = _cost(lines)
    else:
        figure = _sweep(lines) if any(line["dimension"] for line in lines) else _speedups(lines)
    figure.suptitle(_title(lines[0]), fontsize=10)
    image = io.BytesIO()
    figure.savefig(image, format="png")
    replace_file(path, image.getvalue())


def _speedups(lines: Sequence[Record]) -> Figure:
    figure = Figure(figsize=(10, 4.6), dpi=150, layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    providers = list(dict.fromkeys(r["provider"] for r in lines if r["provider"] != OURS))
    for panel, direction in zip(panels, (FORWARD, STEP), strict=True):
        bars(panel, [line for line in lines if line["direction"] == direction], providers)
        panel.set_title(direction.replace("+", " + "))
    panels[0].set_ylabel("times faster than the other")
    if providers:
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=6)
    return figure


def bars(panel: Axes, lines: Sequence[Record], providers: list[str]) -> None:
    """Draw the ratios of one direction into ``panel``, in a group of bars for each case."""
    several = len({line["dtype"] for line in lines}) > 1
    cases = {_key(line): _label(line, several) for line in lines}
    width = 0.8 / max(1, len(providers))
    for index, provider in enumerate(providers):
        speedup = {
            _key(line): float(line["speedup"])
            for line in lines
            if line["provider"] == provider and line["speedup"]
        }
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


def _key(line: Record) -> tuple[str, str]:
    return line["case"], line["dtype"]


def _label(line: Record, several_dtypes: bool) -> str:
    label = f"{line['case']}\n{line['shape']}".replace(" @", "\n@")
    return f"{label}\n{line['dtype']}" if several_dtypes else label


def _sweep(lines: Sequence[Record]) -> Figure:
    lines = [line for line in lines if line["provider"] == OURS]
    dimensions = list(dict.fromkeys(line["dimension"] for line in lines))
    rows = -(-len(dimensions) // WIDE)
    figure = Figure(figsize=(3.4 * WIDE, 2.8 * rows + 0.8), dpi=130, layout="constrained")
    panels = figure.subplots(rows, WIDE, sharey=True, squeeze=False).flat
    for panel, dimension in itertools.zip_longest(panels, dimensions):
        if dimension is None:
            panel.remove()
            continue
        rates(panel, [line for line in lines if line["dimension"] == dimension])
        panel.set_title(dimension, fontsize=9)
    figure.supylabel("GFLOP/s, taps on padding left out", fontsize=9)
    panel = figure.axes[0]
    figure.legend(*panel.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def rates(panel: Axes, lines: Sequence[Record]) -> None:
    """Draw the rates of one dimension, and what would be a cliff."""
    for colour, direction in zip(COLOURS, (FORWARD, BACKWARD), strict=False):
        chosen = [line for line in lines if line["direction"] == direction]
        places = range(len(chosen))
        values = [float(line["used_gflops"]) for line in chosen]
        cliffs = [
            CLIFF * v / float(line["of_nearest"]) for v, line in zip(values, chosen, strict=True)
        ]
        panel.plot(places, values, "o-", color=colour, markersize=4, label=direction)
        panel.plot(
            places, cliffs, ":", color=colour, linewidth=1,
            label=f"{direction}: 1/1.5 of the nearest tuned shape",
        )  # fmt: skip
        panel.set_xticks(places, [line["value"] for line in chosen], fontsize=7, rotation=45)
    panel.set_ylim(bottom=0)
    panel.spines[["top", "right"]].set_visible(False)


def _cost(lines: Sequence[Record]) -> Figure:
    titles = {"median_ms": f"{STEP.replace('+', ' + ')}, ms", "memory_mib": "peak memory, MiB"}
    measured = [column for column in titles if any(line[column] for line in lines)]
    figure = Figure(figsize=(5.5 * len(measured), 5), dpi=150, layout="constrained")
    panels = figure.subplots(1, len(measured), squeeze=False).flat
    for panel, column in zip(panels, measured, strict=True):
        curves(panel, [line for line in lines if line[column]], column)
        panel.set_title(titles[column], loc="left", fontsize=10)
        panel.set_xlabel("channels, in and out")
    return figure


def curves(panel: Axes, lines: Sequence[Record], column: str) -> None:
    """Draw a column against the channels, a curve for each module with its name at the end."""
    modules = list(dict.fromkeys(line["provider"] for line in lines))
    channels = sorted({int(line["value"]) for line in lines})
    ends = []
    for colour, module in zip(COLOURS, modules, strict=False):
        of_module = (line for line in lines if line["provider"] == module)
        points = sorted((int(line["value"]), float(line[column])) for line in of_module)
        panel.plot(*zip(*points, strict=True), "o-", color=colour, markersize=4)
        ends.append((*points[-1], module, colour))
    panel.set_xscale("log", base=2)
    panel.set_yscale("log")
    panel.set_xlim(channels[0] / 1.15, channels[-1] * 1.15)
    panel.set_xticks(channels, [str(count) for count in channels])
    panel.yaxis.set_major_formatter("{x:g}")
    panel.minorticks_off()
    panel.grid(axis="y", color="#e4e4e4", linewidth=0.6)
    panel.spines[["top", "right"]].set_visible(False)
    _label_ends(panel, ends)


def _label_ends(panel: Axes, ends: Sequence[tuple[int, float, str, str]]) -> None:
    """Write the names beside the ends, each as near to its height as there is room.

    A curve that ends before the others has its name above its end, out of their way.
    """
    low, high = (math.log(limit) for limit in panel.get_ylim())
    room, lowest = 0.05, 0.0
    last = max(channels for channels, *_ in ends)
    for channels, value, name, colour in sorted(ends):
        height = (math.log(value) - low) / (high - low)
        offset, across, along = (0, 6), "right", "bottom"
        if channels == last:
            offset, across, along = (7, 0), "left", "center"
            lowest = height = max(height, lowest + room)
        panel.annotate(
            name, (channels, height), xycoords=("data", "axes fraction"), xytext=offset,
            textcoords="offset points", ha=across, va=along, color=colour, fontsize=8,
        )  # fmt: skip


def _title(line: Record) -> str:
    batch = "" if line["dimension"] else f", batch {line['batch']}"
    return (
        f"{line['operator']}, {line['preset']}{batch}, {line['dtype']}\n"
        f"{line['machine']}, {line['threads']} threads, torch {line['torch']}, "
        f"adaconv {line['commit']}"
    )


def main(arguments: Sequence[str]) -> None:
    """Draw the CSV file that is named first to the PNG file that is named second."""
    if len(arguments) != 2:
        raise SystemExit("usage: python -m adaconv_bench.plot IN.csv OUT.png")
    source, target = map(Path, arguments)
    draw(database.read(source), target)


if __name__ == "__main__":
    main(sys.argv[1:])
