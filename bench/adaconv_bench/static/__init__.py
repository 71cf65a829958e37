"""Every GPU kernel compiled ahead of time, and read: no GPU is needed, and no time is told.

``run`` compiles the Triton kernels of the operators' telling cases (``STATIC`` of their folder) and
all CUDA kernels, in every dtype, for every GPU of :data:`~adaconv_bench.static.targets.TARGETS`,
and checks what came out.
"""

import csv as tables
import io
import itertools
import multiprocessing
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from adaconv_bench.processes import environment
from adaconv_bench.registry import closest, operator
from adaconv_bench.results import replace_file
from adaconv_bench.static import ahead
from adaconv_bench.static.gate import Row, rows_of
from adaconv_bench.static.targets import TARGETS

DTYPES = ("float32", "bfloat16", "float16")

#: What the table on a terminal shows; the file has every column.
SHOWN = (
    "backend", "kernel", "case", "dtype", "target", "tile", "warps", "registers", "spilled",
    "shared", "occupancy", "tensor", "loads", "loads16", "stores", "stores16", "loop",
    "loop_tensor",
)  # fmt: skip


def run(
    op: Sequence[str] = (),
    *,
    case: Sequence[str] = (),
    dtype: Sequence[str] = (),
    target: Sequence[str] = (),
    csv: Path | None = None,
    against: Path | None = None,
    processes: int | None = None,
) -> int:
    """Compile the kernels, show what they became, and check it.

    Args:
        op: operators; by default all that have Triton kernels.
        case: names of cases; by default all, and the CUDA kernels, which are the same in any.
        dtype: ``"float32"``, ``"bfloat16"``, ``"float16"``; by default all, the last for the first
            two cases of an operator alone: its kernels are those of bfloat16 with another name.
        target: GPUs, by default all of ``"sm_80"``, ``"sm_90"``, ``"sm_100"`` and ``"gfx942"``.
        csv: file to write the table to.
        against: file that the table must be equal to, in the lines of the operators, dtypes and
            GPUs that were compiled; of all cases.
        processes: how many to compile in, by default one for each core; with 1, in this one.

    Returns:
        The exit code: 0 where every kernel is as it must be and the table as it was.

    Raises:
        ValueError: an operator or a GPU is unknown, or an operator has no telling cases.
        FileNotFoundError: there is no file to compare with.
    """
    import adaconv_kernels

    if adaconv_kernels.unavailable is not None:
        raise RuntimeError(f"no kernel can be compiled: {adaconv_kernels.unavailable}")
    known = sorted(adaconv_kernels.OPERATORS)
    stems = [closest(name, known, "operator with kernels") for name in op] or known
    targets = [closest(name, TARGETS, "GPU") for name in target] or list(TARGETS)
    jobs = list(_jobs(stems, case, [closest(name, DTYPES, "dtype") for name in dtype]))
    before = None if against is None else against.read_text()
    rows, faults = _compile(jobs, targets, processes)
    compilers = {"triton": _triton()}
    console = Console(width=200, highlight=False)
    left_out = "they have no cases" if case else ahead.why_not()
    if left_out is None:
        more, wrong = ahead.rows(stems, dtype or DTYPES, targets, processes)
        rows, faults, compilers["cuda"] = rows + more, faults + wrong, ahead.version()
    console.print(_table(rows))
    if left_out is not None:
        console.print(f"without CUDA kernels: {left_out}", markup=False)
    text = _text(rows, compilers)
    if csv is not None:
        replace_file(csv, text.encode())
        console.print(f"lines: {csv}", markup=False)
    if before is not None:
        compiled = {
            "operator": stems, "target": targets, "dtype": [*(dtype or DTYPES), "any"],
            "compiler": list(compilers.values()),
        }  # fmt: skip
        faults += _differences(text, before, against, compiled)
    for fault in faults:
        console.print(f"gate: {fault}", markup=False, style="bold red", soft_wrap=True)
    if not faults:
        console.print(f"gate: green, {len(rows)} kernels", style="green")
    return 1 if faults else 0


def _jobs(
    stems: Sequence[str], names: Sequence[str], dtypes: Sequence[str]
) -> Iterator[tuple[str, str, str]]:
    """Return operators, cases and dtypes."""
    cases = {stem: [case.name for case in operator(stem).static] for stem in stems}
    if missing := [stem for stem in stems if not cases[stem]]:
        raise ValueError(f"adaconv_bench.operators has no STATIC cases of {', '.join(missing)}")
    for name in names:
        closest(name, itertools.chain(*cases.values()), "case")
    for stem, dtype in itertools.product(stems, dtypes or DTYPES):
        least = 2 if dtype == "float16" and not dtypes else None
        for name in cases[stem][:least]:
            if not names or name in names:
                yield stem, name, dtype


def _compile(
    jobs: Sequence[tuple[str, str, str]], targets: Sequence[str], processes: int | None
) -> tuple[list[Row], list[str]]:
    """Return the lines of the table, each once, and all faults."""
    if processes == 1:
        found = [line for job in jobs for line in rows_of(*job, targets)]
    else:
        spawn = multiprocessing.get_context("spawn")
        with (
            environment({"TRITON_INTERPRET": "0"}),
            ProcessPoolExecutor(processes or os.cpu_count(), mp_context=spawn) as pool,
        ):
            pending = [pool.submit(rows_of, *job, targets) for job in jobs]
            found = [line for job in pending for line in job.result()]
    first = {key: (row, wrong) for key, row, wrong in reversed(found)}  # the same in other cases
    lines = list(reversed(first.values()))
    return [row for row, _ in lines], [fault for _, wrong in lines for fault in wrong]


def _table(rows: Sequence[Row]) -> Table:
    shown = Table(title="static: compiled, never run", title_justify="left", box=box.SIMPLE_HEAD,
                  padding=(0, 1, 0, 0))  # fmt: skip
    for name in SHOWN:
        number = isinstance(rows[0][name], int) or name == "occupancy"
        shown.add_column(
            name.replace("_", "\n"), justify="right" if number else "left", no_wrap=True
        )
    for row in rows:
        shown.add_row(*(str(row[name]) for name in SHOWN))
    return shown


def _triton() -> str:
    import triton

    return f"triton {triton.__version__}"


def _text(rows: Sequence[Row], compilers: Mapping[str, str]) -> str:
    """Return the table as CSV, with the compiler's version in each line."""
    text = io.StringIO()
    writer = tables.DictWriter(text, [*rows[0], "compiler"], lineterminator="\n")
    writer.writeheader()
    writer.writerows({**row, "compiler": compilers[str(row["backend"])]} for row in rows)
    return text.getvalue()


def _differences(
    text: str, before: str, path: Path, compiled: Mapping[str, Sequence[str]]
) -> list[str]:
    """Return what changed since the file was written; another compiler is no change."""
    lines = list(tables.DictReader(io.StringIO(before)))
    makers = {line["compiler"] for line in lines}
    for compiler in sorted(makers - set(compiled["compiler"])):
        print(f"not compared: lines of {path} that {compiler} made")
    header, *rest = before.splitlines()
    kept = [all(line[name] in values for name, values in compiled.items()) for line in lines]
    old = [header, *itertools.compress(rest, kept)]
    new = [line for line in text.splitlines() if line.rpartition(",")[2] in {"compiler", *makers}]
    changed = [f"- {line}" for line in old if line not in new]
    changed += [f"+ {line}" for line in new if line not in old]
    return (
        [*changed, f"{path} is not what the kernels are compiled to; see --csv"] if changed else []
    )
