"""The numbers of a training benchmark, as a table and as JSON."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from adaconv_bench import agreement, machine, table
from adaconv_bench.gate import Verdict
from adaconv_bench.results import replace_file
from adaconv_bench.timing import Ratio, Summary
from adaconv_bench.training import STEP, Course, Match


@dataclass(frozen=True)
class Runner:
    """One provider's training.

    Attributes:
        provider: who computed.
        steps_per_second: over the timed steps.
        images_per_second: real images, from the median.
        memory: peak of the first step above the model, with gradients and the optimisers' state,
            in MiB; ``None`` where it cannot be told.
        losses: of the compared steps: the discriminator's, then the generator's.
    """

    provider: str
    steps_per_second: Summary
    images_per_second: float
    memory: float | None
    losses: Sequence[tuple[float, ...]]


@dataclass(frozen=True)
class TrainingReport:
    """A run of the training benchmark.

    Attributes:
        course: what was trained.
        machine: what the numbers were measured on.
        ours: adaconv.
        other: what it was compared with.
        speedup: how many times longer the other takes; ``None`` where they did not train alike.
        verdict: whether they trained alike.
        trial: seconds of each formulation in the trial that chose the other.
    """

    course: Course
    machine: Mapping[str, str | int | None]
    ours: Runner
    other: Runner
    speedup: Ratio | None
    verdict: Verdict
    trial: Mapping[str, float]

    @classmethod
    def of(cls, course: Course, match: Match) -> "TrainingReport":
        """Gather what was found."""
        ours, other = (_runner(name, course, match) for name in match.samples)
        seconds = (match.samples[runner.provider][STEP] for runner in (ours, other))
        return cls(
            course,
            {**machine.describe(), "threads": course.threads},
            ours,
            other,
            Ratio.of(*seconds) if match.verdict.green else None,
            match.verdict,
            match.trial,
        )

    @property
    def green(self) -> bool:
        """Whether both trained alike."""
        return self.verdict.green

    def show(self, target: Console) -> None:
        """Print the machine, the speeds, the losses side by side, and the ratio or the fault."""
        table.show_machine(self.machine, target)
        target.print(self._speeds(), self._losses())
        if self.trial:
            found = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in self.trial.items())
            target.print(f"trial of the generator alone: {found}", markup=False)
        if self.speedup is not None:
            target.print(
                f"a training step of {self.course.model} is {self.speedup.medians:.2f} times "
                f"faster than with {self.other.provider}",
                markup=False,
                style="bold",
            )
        target.print(
            f"losses of {agreement.STEPS} steps, blocks of the first: {self.verdict}",
            markup=False,
            style="green" if self.green else "bold red",
        )

    def write_json(self, path: Path) -> None:
        """Write every number to ``path``; the file appears whole or not at all."""
        content = {**asdict(self), "green": self.green}
        replace_file(path, json.dumps(content, indent=2, ensure_ascii=False).encode() + b"\n")

    def _speeds(self) -> Table:
        course, count = self.course, self.ours.steps_per_second.count
        shown = _table(f"{course.model} @{course.image_size}², batch {course.batch}, {count} steps")
        shown.add_column("provider")
        for header in ("speed-up by\nmedians / pairs", "steps/s: median\n(p20 – p80)", "images/s"):
            shown.add_column(header, justify="right", no_wrap=True)
        shown.add_column("MiB", justify="right")
        for runner in (self.ours, self.other):
            rate, ratio = runner.steps_per_second, self.speedup
            shown.add_row(
                runner.provider,
                f"[bold]{ratio.medians:.2f}[/] / {ratio.pairs:.2f}"
                if ratio is not None and runner is self.other
                else "",
                f"{rate.median:.3g} ({rate.p20:.3g} – {rate.p80:.3g})",
                f"{runner.images_per_second:.3g}",
                "" if runner.memory is None else f"{runner.memory:.0f}",
            )
        return shown

    def _losses(self) -> Table:
        shown = _table("losses")
        for header in (
            "step",
            "network",
            self.ours.provider,
            self.other.provider,
            "difference",
            "allowed",
        ):
            shown.add_column(header, justify="left" if header == "network" else "right")
        pairs = zip(self.ours.losses, self.other.losses, strict=True)
        for step, (ours, other) in enumerate(pairs, start=1):
            error, bound = (
                given[f"loss {step}"] for given in (self.verdict.errors, self.verdict.bounds)
            )
            names = ["discriminator"] * (len(ours) - 1) + ["generator"]
            cells = [str(step), *[""] * (len(ours) - 1)]
            checks = [
                f"{error:.1e}" if error <= bound else f"[bold red]{error:.1e}[/]",
                f"{bound:.1e}",
            ]
            for cell, name, a, b in zip(cells, names, ours, other, strict=True):
                shown.add_row(cell, name, f"{a:.7f}", f"{b:.7f}", *(checks if cell else []))
        return shown


def _runner(name: str, course: Course, match: Match) -> Runner:
    rates = Summary.of([1 / seconds for seconds in match.samples[name][STEP]])
    steps = match.steps[name]
    images = course.batch * (len(steps[0].losses) - 1)
    return Runner(
        name,
        rates,
        images * rates.median,
        match.memory[name],
        [step.losses for step in steps[: agreement.STEPS]],
    )


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
