"""Progress of training on the terminal: a bar, or plain lines where there is no terminal."""

import time
from datetime import timedelta
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


class Report(Protocol):
    """Shows how far training is, inside a ``with`` block."""

    def __enter__(self) -> "Report":
        """Start."""

    def __exit__(self, *error: object) -> None:
        """Leave the terminal as it was."""

    def show(self, step: int, row: dict[str, float] | None) -> None:
        """Tell that ``step`` steps are done, and the metrics of the interval if it ends one."""

    def say(self, message: str) -> None:
        """Print a line."""


def report(console: Console, done: int, steps: int) -> Report:
    """Return the report that suits the console: ``done`` of ``steps`` steps are done."""
    kind = Bar if console.is_terminal else Lines
    return kind(console, done, steps)


class Bar:
    """A progress bar with the losses, the images per second and the time that remains."""

    def __init__(self, console: Console, done: int, steps: int) -> None:
        self._progress = Progress(
            TextColumn("step"),
            MofNCompleteColumn(),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[metrics]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            speed_estimate_period=120,
        )
        self._task = self._progress.add_task("", total=steps, completed=done, metrics="")

    def __enter__(self) -> "Bar":
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()

    def show(self, step: int, row: dict[str, float] | None) -> None:
        """Move the bar; put new metrics beside it."""
        self._progress.update(self._task, completed=step)
        if row is not None:
            self._progress.update(self._task, metrics=_text(row))

    def say(self, message: str) -> None:
        """Print a line above the bar."""
        self._progress.console.print(message, markup=False, highlight=False, soft_wrap=True)


class Lines:
    """One line for each interval."""

    def __init__(self, console: Console, done: int, steps: int) -> None:
        self._console, self._first, self._steps = console, done, steps
        self._start = time.monotonic()

    def __enter__(self) -> "Lines":
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def show(self, step: int, row: dict[str, float] | None) -> None:
        """Print the metrics, if there are new ones."""
        if row is None:
            return
        per_step = (time.monotonic() - self._start) / (step - self._first)
        left = timedelta(seconds=round(per_step * (self._steps - step)))
        self.say(f"step {step}/{self._steps}  {_text(row)}  {left} left")

    def say(self, message: str) -> None:
        """Print a line."""
        self._console.print(message, markup=False, highlight=False, soft_wrap=True)


def _text(row: dict[str, float]) -> str:
    losses = (
        f"{name[0].upper()} {value:.3f}" for name, value in row.items() if name.endswith("_loss")
    )
    return f"{'  '.join(losses)}  {row['images_per_second']:.1f} images/s"
