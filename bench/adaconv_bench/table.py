"""The report on a terminal: ratios first, then what they come from."""

import itertools
import sys
from collections.abc import Mapping, Sequence

from rich import box
from rich.console import Console, JustifyMethod
from rich.markup import escape
from rich.table import Table

from adaconv_bench.race import FORWARD, STEP
from adaconv_bench.registry import OURS
from adaconv_bench.results import Report, Row

#: Wide enough for every column where the output is no terminal.
WIDTH = 100

#: header → justification
COLUMNS: dict[str, JustifyMethod] = {
    "case": "left",
    "direction": "left",
    "provider": "left",
    "speed-up by\nmedians / pairs": "right",
    "ms: median\n(p20 – p80)": "right",
    "GFLOP/s": "right",
    "of mm": "right",
    "MiB": "right",
}

SHORT = {FORWARD: "fwd", STEP: "fwd+bwd"}


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
    batch = report.rows[0].batch
    shown = Table(
        title=f"{report.operator}, {report.preset}, batch {batch}",
        title_justify="left",
        caption=escape("\n".join([*_failures(report), *report.notes])),
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    groups = [_lines(list(rows)) for _, rows in itertools.groupby(report.rows, lambda r: r.case)]
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
    name = report.rows[-1].case
    last = {r.provider: r for r in report.rows if r.case == name and r.direction == STEP}
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


def _lines(rows: Sequence[Row]) -> list[list[str]]:
    """Return the cells of one case; its name and each direction are written once."""
    labels = itertools.chain([rows[0].case, rows[0].title], itertools.repeat(""))
    directions = [None, *(row.direction for row in rows)]
    return [
        [label, "" if row.direction == above else SHORT[row.direction], row.provider, *_cells(row)]
        for label, row, above in zip(labels, rows, directions, strict=False)
    ]


def _cells(row: Row) -> list[str]:
    """Return the numbers of a row, or one word why there are none."""
    if not row.green:
        return ["cannot run" if row.failure else "[bold red]wrong result[/]", *[""] * 4]
    seconds = row.seconds
    return [
        f"[bold]{row.speedup.medians:.2f}[/] / {row.speedup.pairs:.2f}" if row.speedup else "",
        ""
        if seconds is None
        else f"{_ms(seconds.median)} ({_ms(seconds.p20)} – {_ms(seconds.p80)})",
        _number(row.gflops, ".0f"),
        _number(row.of_limit, ".0%"),
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
