"""What adaptivity costs: an ordinary convolution and its drop-ins against their channels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from rich import box
from rich.console import Console
from rich.table import Table
from torch import nn

import adaconv.nn
from adaconv_bench import database, machine, table
from adaconv_bench.gate import Gate, Verdict
from adaconv_bench.operators.adaptive_conv import Layer
from adaconv_bench.operators.adaptive_conv.cases import problem_of
from adaconv_bench.processes import in_fresh_process, peak_memory
from adaconv_bench.race import CHECKED, STEP, turn_of
from adaconv_bench.registry import Problem, Provider, adaconv_provider, draw, operator
from adaconv_bench.results import Report, Row
from adaconv_bench.timing import Budget, Ratio, Samples, Summary, interleave
from adaconv_bench.trial import settle

#: What everything is compared with.
ORDINARY = "Conv2d"

#: Name of the adaptive block in plain PyTorch.
EAGER = "AdaConvBlock, eager"

#: Height and width of the pictures of the checks, as the specification writes all weights.
CHECKED_SIZE = 8

#: Copies of the weights of every pixel that the eager form has in memory at a time, about.
COPIES = 3

#: Pitch of the blocks that regress their weights on a grid.
PITCH = 4

#: Samples of a trial between eager formulations.
TRIAL = 2


@dataclass(frozen=True)
class DropIn:
    """A module in the place of ``nn.Conv2d(channels, channels, 3, padding=1)``.

    Attributes:
        module: name of the class in :mod:`adaconv.nn`, or in :mod:`torch.nn`.
        channels: of input and output.
        size: height and width of the pictures.
        pitch: distance of the points that weights are regressed at; ``None`` for every pixel.
    """

    module: str
    channels: int
    size: int
    pitch: int | None = None
    exact: bool = False
    # As of a network: an activation within rounding of 0 falls to either side.
    gradient_slack: float = 5e-3

    @property
    def name(self) -> str:
        """What is built, without the channels."""
        return self.module if self.pitch is None else f"{self.module}, pitch {self.pitch}"

    @property
    def title(self) -> str:
        """Channels and picture size."""
        return f"{self.channels}→{self.channels} @{self.size}²"

    def flops(self, batch: int) -> float:
        """Those of the ordinary convolution in its place."""
        return 2.0 * batch * self.size**2 * 9 * self.channels**2

    def problem(
        self,
        batch: int,
        dtype: torch.dtype,
        *,
        integers: bool = False,
        values: torch.dtype = torch.float32,
    ) -> Problem:
        """Draw the module and its input."""
        if integers:
            raise ValueError("a module has no problem in integers")
        options = {} if self.pitch is None else {"pitch": self.pitch}
        build = getattr(adaconv.nn, self.module, None) or getattr(nn, self.module)
        module = build(self.channels, self.channels, 3, padding=1, dtype=dtype, **options)
        shape = batch, self.channels, self.size, self.size
        return problem_of(module, shape, shape, values)


def drop_ins(channels: int, size: int) -> list[DropIn]:
    """Return the convolution and the blocks, the cheapest first."""
    found = [
        (ORDINARY, None),
        ("AdaSeparableConvBlock", PITCH),
        ("AdaSeparableConvBlock", None),
        ("LocalAdaConvBlock", PITCH),
        ("AdaConvBlock", None),
    ]
    return [DropIn(name, channels, size, pitch) for name, pitch in found]


def run(
    *,
    channels: Sequence[int] = (16, 32, 64, 128, 256),
    size: int = 32,
    batch: int = 16,
    backend: str | None = None,
    threads: int | None = None,
    seconds: float = 6.0,
    memory_limit: float = 8.0,
    json: Path | None = None,
    csv: Path | None = None,
    plot: Path | None = None,
) -> int:
    """Measure time and memory of a convolution and its drop-ins, forward and backward.

    Each is checked against the specification in fp64 on small pictures; the adaptive block also
    against its eager form at full size, wherever that is measured.

    Args:
        channels: of input and output.
        size: height and width of the pictures.
        batch: pictures per call.
        backend: backend of adaconv to measure; ``None`` lets adaconv choose.
        threads: threads that torch computes with; ``None`` leaves torch's own choice.
        seconds: time to spend on the timed rounds of one number of channels, in seconds.
        memory_limit: what the eager form may take, in GiB; where it would take more it is left out.
        json: file to write every number to.
        csv: file to write a line for each module and number of channels to.
        plot: PNG file to draw time and memory to.

    Returns:
        The exit code: 0 where every module computed what it should, 1 otherwise.

    Raises:
        ValueError: a number is too small, or a backend is unknown.
    """
    for name, numbers in (
        ("channels", channels), ("size", [size]), ("batch", [batch]), ("threads", [threads or 1]),
    ):  # fmt: skip
        if not numbers or min(numbers) < 1:
            raise ValueError(f"{name} must be at least 1, got {', '.join(map(str, numbers))}")
    if plot is not None:
        from adaconv_bench.plot import draw as draw_plot  # learn now whether matplotlib is there
    console = table.console()
    course = Course(size, batch, adaconv_provider(backend), Budget(None, seconds, least=1))
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        rows = []
        for count in channels:
            with console.status(f"{count} channels"):
                rows += course.measure(count, memory_limit)
        preset = f"{batch} pictures of {size}x{size}"
        report = Report("cost", preset, machine.describe(), {}, rows)
    finally:
        torch.set_num_threads(before)
    show(report, console)
    lines = database.records(report)
    if json is not None:
        report.write_json(json)
    if csv is not None:
        database.write(lines, csv)
    if plot is not None and lines:
        draw_plot(lines, plot)
    return 0 if report.green else 1


@dataclass(frozen=True)
class Course:
    """What is the same at every number of channels."""

    size: int
    batch: int
    ours: Provider
    budget: Budget

    def measure(self, channels: int, limit: float) -> list[Row]:
        """Check and time all modules in turns, then take their memory."""
        entries = {case.name: (case, self.ours) for case in drop_ins(channels, self.size)}
        adaptive, _ = entries["AdaConvBlock"]
        needed = COPIES * 4 * self.batch * self.size**2 * 9 * channels**2 / 2**30
        left_out = []
        if needed <= limit:
            entries[EAGER] = adaptive, _eager(channels, self.size)
        else:
            why = f"left out: would take about {needed:.0f} GiB, more than {limit:.0f}"
            left_out.append(replace(self._row(EAGER, adaptive), failure=why))
        verdicts = {name: _check(*entry) for name, entry in entries.items()}
        if EAGER in entries:
            _, eager = entries[EAGER]
            verdicts[adaptive.name] |= self._check_full_size(adaptive, eager)
        samples = self._race(
            {name: entry for name, entry in entries.items() if verdicts[name].green}
        )
        timed = [
            self._timed(name, *entry, verdicts[name], samples) for name, entry in entries.items()
        ]
        return timed + left_out

    def _race(self, entries: Mapping[str, tuple[DropIn, Provider]]) -> Samples:
        turns = {
            name: turn_of(draw(case, self.batch, torch.float32), provider)
            for name, (case, provider) in entries.items()
        }
        return interleave(turns, self.budget, warm_up=1)

    def _row(self, name: str, case: DropIn) -> Row:
        threads = torch.get_num_threads()
        return Row(
            case.name, case.title, name, STEP, self.batch, threads=threads,
            dimension="channels", value=str(case.channels),
        )  # fmt: skip

    def _timed(
        self, name: str, case: DropIn, provider: Provider, verdict: Verdict, samples: Samples
    ) -> Row:
        """Return what was found of a module; ``speedup`` is its time over the convolution's."""
        row = replace(self._row(name, case), verdict=verdict)
        if name not in samples or ORDINARY not in samples:
            return row
        seconds, ordinary = (samples[n][STEP] for n in (name, ORDINARY))
        memory = in_fresh_process(peak_memory, case, provider, self.batch, row.threads)
        return replace(
            row,
            seconds=Summary.of(seconds),
            speedup=Ratio.of(ordinary, seconds),
            memory=memory,
        )

    def _check_full_size(self, case: DropIn, eager: Provider) -> Verdict:
        """Compare the timed call of the adaptive block with its eager form's."""
        problem = draw(case, self.batch, torch.float32)
        with self.ours.active():
            found = problem.results()
        with eager.active():
            return Gate(case, eager).check_full_size(found, problem.results())


def _eager(channels: int, size: int) -> Provider:
    """Return the eager formulation that a trial finds the fastest."""
    layer = Layer("trial", channels, channels, size)
    provider = operator("adaptive_conv").provider("eager")
    return settle(provider, [layer], TRIAL, torch.float32, torch.get_num_threads())


def _check(case: DropIn, provider: Provider) -> Verdict:
    """Compare with the specification in fp64, on pictures that leave room for all weights."""
    small = replace(case, size=min(case.size, CHECKED_SIZE))
    return Gate(small, adaconv_provider("reference"), batch=CHECKED).check(provider)


def show(report: Report, target: Console) -> None:
    """Print the machine, time and memory, and the verdict of the checks."""
    table.show_machine(report.machine, target)
    shown = Table(
        title=f"{STEP}, {report.preset}",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    shown.add_column("channels", justify="right")
    shown.add_column("module")
    for header in ("ms", "of Conv2d", "MiB"):
        shown.add_column(header, justify="right")
    for row in report.rows:
        shown.add_row(row.value, row.provider, *_cells(row), end_section=row.provider == EAGER)
    target.print(shown)
    checked = [row for row in report.rows if row.failure is None]
    red = [f"gate: {r.provider}, {r.title}: {r.verdict}" for r in checked if not r.green]
    count = sum(len(row.verdict.errors) for row in checked)
    gate = red or [f"gate: green, {count} checks of values and gradients passed"]
    target.print(*gate, sep="\n", markup=False, style="bold red" if red else "green")


def _cells(row: Row) -> tuple[str, str, str]:
    if row.seconds is None or row.speedup is None:
        return row.failure or "wrong result", "", ""
    memory = "" if row.memory is None else f"{row.memory:.0f}"
    return f"{1e3 * row.seconds.median:.1f}", f"{row.speedup.medians:.1f}×", memory
