"""Runs as one HTML page that needs nothing else: no network, no other file, no JavaScript."""

import os
from collections.abc import Mapping, Sequence
from functools import partial

from adaconv.explore import SHEETS, has_codes
from adaconv.report.parts import View
from adaconv.report.run import Run
from adaconv.train.curves import COLOURS, draw_metrics
from adaconv.train.files import replacing
from adaconv.train.machine import machine
from adaconv.train.pages import rendered

#: Sheets of :mod:`adaconv.explore` on the page.
SHOWN = ("spherical", "codes", "neighbours")


def save_report(
    runs: Sequence[Run],
    out: str | os.PathLike[str],
    *,
    spec: str | None = None,
    steps: int = 2,
    seed: int = 0,
) -> None:
    """Write a page of runs side by side, which appears whole or not at all.

    It has the metrics against the step, the scores with their protocol, samples over time, walks
    between latents, the training images nearest to samples, the kernels of a training step, the
    settings and the machine. What a run does not have is said.

    Args:
        runs: the runs, of different names.
        out: the HTML file.
        spec: training images; by default those that each run names.
        steps: training steps whose kernels are measured on this machine; 0 leaves them out.
        seed: seed of the latents, and of the images of these steps.
    """
    views = [View(run, spec, seed) for run in runs]
    codes = any(has_codes(view.gan) for view in views)
    names = [name for name in SHOWN if name != "codes" or codes]
    page = rendered(
        "adaconv.report",
        "page.html",
        colours={run.name: COLOURS[i % len(COLOURS)] for i, run in enumerate(runs)},
        summary=_table([view.summary() for view in views]),
        curves=draw_metrics({run.name: run.rows for run in runs}),
        scores=[view.part(view.scores) for view in views],
        evolution=[view.part(view.evolution) for view in views],
        sheets={
            SHEETS[name].title: [view.part(partial(view.sheet, name)) for view in views]
            for name in names
        },
        profiles=[view.part(partial(view.profile, steps)) for view in views],
        settings=_table([view.settings() for view in views]),
        machines=_table([view.machine() for view in views]),
        here=machine(),
    )
    with replacing(out) as file:
        file.write(page.encode())


def _table(columns: Sequence[Mapping[str, str]]) -> dict[str, list[str]]:
    """Rows of a table with a column for each run; what a run does not have is a dash."""
    names = dict.fromkeys(name for column in columns for name in column)
    return {name: [column.get(name, "–") for column in columns] for name in names}
