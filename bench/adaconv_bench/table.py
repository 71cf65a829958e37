"""The report on a terminal: ratios first, then what they come from."""

import itertools
import sys
from collections.abc import Mapping, Sequence

from rich import box
from rich.console import Console, JustifyMethod
from rich.markup import escape
from rich.table import Table

from adaconv_bench.race import BACKWARD, FORWARD, STEP
from adaconv_bench.registry import OURS
from adaconv_bench.results import CLIFF, Report, Row

#: Wide enough for every column where the output is no terminal.
WIDTH = 120

#: header → justification
COLUMNS: dict[str, JustifyMethod] = {
    "case": "left",
    "direction": "left",
    "provider": "left",
    "speed-up by\nmedians / pairs": "right",
    "ms: median\n(p20 – p80)": "right",
    "GFLOP/s\n": "right",
    "dense\nof mm": "right",
    "of FMA: dense\n/ used": "right",
    "of the\nnearest": "right",
    "MiB": "right",
}

SHORT = {FORWARD: "fwd", BACKWARD: "bwd", STEP: "fwd+bwd"}


def console() -> Console:
    """Return the console that reports are printed on."""
    return Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False)


def show(report: Report, target: Console) -> None:
    """Print the machine, the table, the limits, the ratios in words and the gate's verdict."""
    show_machine(report.machine, target)
    target.print(table(report))
    for name, rate in report.limits.items():
        target.print(f"limit, measured between the others: {name} {rate:.0f}", markup=False)
    for line in summary(report):
        target.print(line, markup=False, style="bold")
    target.print(
        *_gate(report), markup=False, style="green" if report.green else "bold red", sep="\n"
    )


def show_machine(machine: Mapping[str, str | int | None], target: Console) -> None:
    """Print what the numbers were measured on, see :func:`adaconv_bench.machine.describe`."""
    target.print(
        f"{machine['cpu']}, {machine['threads']} threads, {machine['dtype']}, "
        f"torch {machine['torch']}, adaconv {machine['adaconv']} "
        f"({machine['adaconv_simd'] or 'no native module'})",
        markup=False,
    )


def table(report: Report) -> Table:
    """Return the table: a section for each case, a line for each direction and provider."""
    batches = {row.batch for row in report.rows}
    batch = f"batch {batches.pop()}" if len(batches) == 1 else "batch of each case its own"
    shown = Table(
        title=f"{report.operator}, {report.preset}, {batch}",
        title_justify="left",
        caption=escape("\n".join([*_failures(report), *report.notes])),
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    # The backward pass alone is of interest where it is compared with the machine.
    rows = [row for row in report.rows if row.direction != BACKWARD or row.provider == OURS]
    several = len({row.dtype for row in rows}) > 1
    groups = [
        _lines(list(group), [dtype] if several else [])
        for (_, dtype), group in itertools.groupby(rows, lambda row: (row.case, row.dtype))
    ]
    filled = [any(line[i] for lines in groups for line in lines) for i in range(len(COLUMNS))]
    for header, justify in itertools.compress(COLUMNS.items(), filled):
        shown.add_column(header, justify=justify, no_wrap=justify == "right")
    for lines in groups:
        for line in lines:
            shown.add_row(*itertools.compress(line, filled))
        shown.add_section()
    return shown


def summary(report: Report) -> list[str]:
    """Return a line for each comparison of the last case: the factors of time and memory."""
    if report.rows[-1].nearest:
        return cliffs(report)
    name, dtype = report.rows[-1].case, report.rows[-1].dtype
    last = {
        row.provider: row
        for row in report.rows
        if (row.case, row.dtype, row.direction) == (name, dtype, STEP)
    }
    lines = []
    for provider, row in last.items():
        if row.speedup is None:
            continue
        line = f"{name}, {STEP}: {row.speedup.medians:.2f} times faster than {provider}"
        ours = last[OURS].memory
        if ours and row.memory:
            line += f", in {ours / row.memory:.1%} of its memory"
        lines.append(line)
    return lines


def cliffs(report: Report) -> list[str]:
    """Return a line for each case of a sweep that is slower than the tuned shapes by too much."""
    lines = [
        f"cliff: {row.case}, {row.direction}: {row.of_nearest:.0%} of the rate of {row.nearest}"
        for row in report.rows
        if row.of_nearest is not None and row.of_nearest < CLIFF
    ]
    return lines or ["no case is slower than 1/1.5 of the nearest tuned shape"]


def _lines(rows: Sequence[Row], notes: Sequence[str]) -> list[list[str]]:
    """Return the cells of one case; its name and each direction are written once."""
    labels = itertools.chain([rows[0].case, rows[0].title, *notes], itertools.repeat(""))
    directions = [None, *(row.direction for row in rows)]
    return [
        [label, "" if row.direction == above else SHORT[row.direction], row.provider, *_cells(row)]
        for label, row, above in zip(labels, rows, directions, strict=False)
    ]


def _cells(row: Row) -> list[str]:
    """Return the numbers of a row, or one word why there are none."""
    if not row.green:
        return ["cannot run" if row.failure else "[bold red]wrong result[/]", *[""] * 6]
    seconds = row.seconds
    return [
        f"[bold]{row.speedup.medians:.2f}[/] / {row.speedup.pairs:.2f}" if row.speedup else "",
        ""
        if seconds is None
        else f"{_ms(seconds.median)} ({_ms(seconds.p20)} – {_ms(seconds.p80)})",
        _number(row.gflops, ".0f"),
        _number(row.of_limit, ".0%"),
        _number(row.of_fma, ".0%") + (f" / {row.used_of_fma:.0%}" if row.used_of_fma else ""),
        "" if row.of_nearest is None else f"{row.of_nearest:.0%} {row.nearest}",
        _number(row.memory, ".0f"),
    ]


def _ms(seconds: float) -> str:
    """Write milliseconds with three digits.

    Example:
        >>> _ms(1.2345), _ms(0.0123)
        ('1234', '12.3')
    """
    milliseconds = 1e3 * seconds
    digits = 0 if milliseconds >= 100 else 1 if milliseconds >= 10 else 2
    return f"{milliseconds:.{digits}f}"


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _failures(report: Report) -> list[str]:
    lines = [f"{r.case}, {r.provider} cannot run: {r.failure}" for r in report.rows if r.failure]
    return list(dict.fromkeys(lines))


def _gate(report: Report) -> list[str]:
    checked = [row for row in report.rows if row.failure is None]
    red = [f"gate: {r.case}, {r.provider}: {r.verdict}" for r in checked if not r.verdict.green]
    if red:
        return list(dict.fromkeys(red))
    if not report.green:
        return ["gate: red, adaconv could not run"]
    checks = sum(len(row.verdict.errors) for row in checked if row.direction == STEP)
    return [
        f"gate: green, {checks} checks of values and gradients passed before anything was timed"
    ]
