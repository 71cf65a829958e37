"""Results as a table of plain text: one line for each number, enough to draw every plot from."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from adaconv_bench.results import Report, Row, replace_file

#: Of a line, what identifies it, what was measured, where, and what that means.
COLUMNS = (
    "operator", "provider", "direction", "case", "shape", "batch", "dtype", "threads",
    "median_ms", "p20_ms", "p80_ms", "memory_mib", "machine", "torch", "commit",
    "preset", "rounds", "speedup", "gflops", "used_gflops", "of_mm", "of_fma", "used_of_fma",
    "dimension", "value", "nearest", "of_nearest",
)  # fmt: skip

Record = Mapping[str, str]


def records(report: Report) -> list[Record]:
    """Return a line for each row that was timed.

    ``speedup`` is how many times longer the provider takes than adaconv in the same rounds;
    ``used_gflops`` leaves out taps on zero padding; ``of_mm`` is the dense rate over that of
    ``torch.mm``, ``of_fma`` and ``used_of_fma`` are the rates over that of multiplications in
    registers; the last four columns are a sweep's.
    """
    timed = [row for row in report.rows if row.seconds is not None]
    return [{name: _text(_values(report, row)[name]) for name in COLUMNS} for row in timed]


def _values(report: Report, row: Row) -> dict[str, object]:
    machine, seconds = report.machine, row.seconds
    simd = machine.get("adaconv_simd") or "no native module"
    return {
        **vars(row),
        "operator": report.operator,
        "shape": row.title,
        "median_ms": 1e3 * seconds.median,
        "p20_ms": 1e3 * seconds.p20,
        "p80_ms": 1e3 * seconds.p80,
        "memory_mib": row.memory,
        "machine": f"{machine['cpu']} ({simd})",
        "torch": machine["torch"],
        "commit": machine.get("adaconv_commit"),
        "preset": report.preset,
        "rounds": seconds.count,
        "speedup": row.speedup and row.speedup.medians,
        "of_mm": row.of_limit,
    }


def _text(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def write(lines: Iterable[Record], path: Path) -> None:
    """Write the lines to a CSV file, which appears whole or not at all."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    replace_file(path, text.getvalue().encode())


def read(path: Path) -> Sequence[Record]:
    """Read the lines of a CSV file.

    Raises:
        ValueError: a column is missing.
    """
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
        if missing:
            raise ValueError(f"{path} must have the columns {', '.join(missing)}")
        return list(reader)
