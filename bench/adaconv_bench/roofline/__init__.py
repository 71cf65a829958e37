"""What a GPU needs at least: computed from counts and published rates, never measured.

For each case three lines: what no implementation goes below, adaconv's Triton kernels, and the
formulation in plain PyTorch. A line's two times are its operations over the rate of products and
its bytes over the rate of the memory; the call takes the longer one at least. Operations are those
of products and convolutions, as the tensor cores make them. Bytes that adaconv's
kernels ask for more than once come from the second cache, whose rate is not published: they are
shown, and have no time.
"""

import csv as tables
import io
from collections.abc import Sequence
from pathlib import Path

import adaconv_kernels
import torch
from rich import box
from rich.console import Console
from rich.table import Table

from adaconv_bench.machine import dtype_name
from adaconv_bench.race import FORWARD, STEP
from adaconv_bench.registry import OURS, Operator, closest, operator
from adaconv_bench.results import replace_file
from adaconv_bench.roofline import traffic
from adaconv_bench.roofline.devices import DEVICES
from adaconv_bench.roofline.traffic import Work

DTYPES = {dtype_name(t): t for t in (torch.float32, torch.bfloat16, torch.float16)}


def run(
    op: str = "adaptive_conv",
    *,
    device: str = "h100",
    preset: str = "adagan-cifar10",
    dtype: Sequence[str] = ("float32", "bfloat16"),
    batch: int | None = None,
    csv: Path | None = None,
) -> int:
    """Show the floors of an operator's cases.

    Args:
        op: stem of the operator.
        device: ``"h100"``, ``"a100"``, ``"rtx4090"`` or ``"mi300x"``.
        preset: the set of shapes, as for :func:`adaconv_bench.run`; whole networks are left out.
        dtype: ``"float32"``, ``"bfloat16"``, ``"float16"``.
        batch: samples per call; ``None`` takes the preset's.
        csv: file to write the table to.

    Returns:
        The exit code, 0.

    Raises:
        ValueError: a name is unknown, or the batch too small.
    """
    if batch is not None and batch < 1:
        raise ValueError(f"batch must be at least 1, got {batch}")
    known = operator(op)
    closest(preset, known.presets, f"preset of {op}")
    closest(device, DEVICES, "device")
    names = [closest(name, DTYPES, "dtype") for name in dtype]
    rows = [row for name in names for row in _rows(known, preset, name, device, batch)]
    console = Console(width=140, highlight=False)
    console.print(_table(rows, f"{op}, {preset}, {device}: computed, not measured"))
    if csv is not None:
        text = io.StringIO()
        writer = tables.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        replace_file(csv, text.getvalue().encode())
        console.print(f"lines: {csv}", markup=False)
    return 0


def _rows(
    known: Operator, preset: str, name: str, device: str, batch: int | None
) -> list[dict[str, object]]:
    """Return the lines of every case in one dtype."""
    gpu, dtype, rows = DEVICES[device], DTYPES[name], []
    chosen = known.presets[preset]
    yardstick = known.provider(known.yardstick)
    for case in chosen.cases:
        if hasattr(case, "layers"):  # a network is the sum of its layers
            continue
        samples = batch or chosen.batch
        for direction in (FORWARD, STEP):
            call = case, samples, dtype, direction
            works = {"least": (traffic.least(*call), gpu.least(dtype))}
            if known.stem in adaconv_kernels.OPERATORS:
                works[OURS] = traffic.ours(known.stem, *call, gpu), gpu.half
            works[known.yardstick] = traffic.eager(*call, yardstick), gpu.eager(dtype)
            head = {
                "operator": known.stem, "device": device, "case": case.title, "batch": samples,
                "dtype": name, "direction": direction,
            }  # fmt: skip
            rows += [
                {**head, "of": who, **_line(work, rate, gpu.memory)}
                for who, (work, rate) in works.items()
            ]
    return rows


def _line(work: Work, rate: float, memory: float) -> dict[str, str]:
    """Return counts and times: TFLOP/s and GB/s in, GFLOP, MB and milliseconds out."""
    times = work.operations / rate / 1e9, work.memory / memory / 1e6
    return {
        "GFLOP": f"{work.operations / 1e9:.4g}",
        "MB": f"{work.memory / 1e6:.4g}",
        "MB requested": "" if work.requested is None else f"{work.requested / 1e6:.4g}",
        "ms by operations": f"{times[0]:.3g}",
        "ms by bytes": f"{times[1]:.3g}",
        "ms at least": f"{max(times):.3g}",
    }


def _table(rows: Sequence[dict[str, object]], title: str) -> Table:
    shown = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    names = [name for name in rows[0] if name not in ("operator", "device")]
    for name in names:
        shown.add_column(name, justify="right" if "GFLOP" in name or "M" in name else "left")
    for row in rows:
        shown.add_row(
            *(str(row[name]) for name in names), end_section=row["of"] not in ("least", OURS)
        )
    return shown
