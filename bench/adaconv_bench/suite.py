"""The benchmarks of all operators in one run, under one gate."""

import json as json_
from pathlib import Path

from adaconv_bench import table
from adaconv_bench.registry import operator, stems
from adaconv_bench.results import replace_file
from adaconv_bench.runner import Contest
from adaconv_bench.timing import Budget


def run(
    *,
    against: str = "eager",
    backend: str | None = None,
    threads: int | None = None,
    repeats: int | None = None,
    seconds: float = 1.0,
    json: Path | None = None,
) -> int:
    """Check and measure every operator; arguments as of :func:`adaconv_bench.run`.

    Returns:
        The exit code: 0 where every check of every operator passed, 1 otherwise.

    Raises:
        ValueError: a provider or backend is unknown, or a number is too small.
    """
    if json is not None and json.is_dir():
        raise ValueError(f"a file must be named to write to, got the folder {json}")
    budget = Budget(repeats, seconds)
    contests = [
        Contest.of(stem, preset, [against, *beside], backend, "float32", None, threads, budget)
        for stem in stems()
        for preset, beside in operator(stem).suite.items()
    ]
    console = table.console()
    reports = []
    for contest in contests:
        reports.append(contest.measure(console))
        table.show(reports[-1], console)
    green = all(report.green for report in reports)
    if json is not None:
        content = {"green": green, "reports": [report.content() for report in reports]}
        text = json_.dumps(content, indent=2, ensure_ascii=False) + "\n"
        replace_file(json, text.encode())
        console.print(f"numbers: {json}", markup=False)
    red = ", ".join(f"{r.operator} ({r.preset})" for r in reports if not r.green)
    verdict = f"red: {red}" if red else f"green, {len(stems())} operators"
    console.print(f"gate of all: {verdict}", markup=False, style="bold red" if red else "green")
    return 0 if green else 1
