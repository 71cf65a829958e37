"""What training measures: losses, speed, and where the time goes."""

import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

from adaconv.train.boards import Board, Maker
from adaconv.train.files import replacing


class Meter:
    """Gathers values and times of the steps since the last :meth:`take`.

    Args:
        synchronize: waits for the device; called before the clock is read at the end of a phase.
    """

    def __init__(self, synchronize: Callable[[], None]) -> None:
        self._synchronize = synchronize
        #: Over all steps so far.
        self.images = 0
        self.seconds = 0.0
        self._reset()

    def _reset(self) -> None:
        self._values: dict[str, list[float]] = defaultdict(list)
        self._seconds: dict[str, float] = defaultdict(float)
        self._images = 0

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count the time of the ``with`` block to what a step spends its time on."""
        start = time.perf_counter()
        yield
        self._synchronize()
        self._seconds[name] += time.perf_counter() - start

    def images_seen(self, count: int) -> None:
        """Count real images."""
        self._images += count

    def note(self, values: dict[str, float]) -> None:
        """Note losses and the like, by name."""
        for name, value in values.items():
            self._values[name].append(value)

    @property
    def images_per_second(self) -> float:
        """Real images per second of all steps so far, samples and checkpoints left out."""
        return self.images / self.seconds if self.seconds else 0.0

    def take(self) -> dict[str, float]:
        """Mean values, images/s, and the share of each phase in the time, since the last call."""
        seconds = sum(self._seconds.values())
        row = {name: sum(values) / len(values) for name, values in self._values.items()}
        row["images_per_second"] = self._images / seconds
        row |= {f"{name}_share": spent / seconds for name, spent in self._seconds.items()}
        self.images += self._images
        self.seconds += seconds
        self._reset()
        return row


class MetricsFile:
    """A file of JSON lines, one per interval, each with its step.

    Args:
        path: the file.
        machine: what is computed with; it goes into the first line that is written, so that a run
            that was resumed elsewhere names both.
        makers: make the boards that show the numbers as well.
    """

    def __init__(self, path: Path, machine: Mapping[str, str], makers: Sequence[Maker]) -> None:
        self.path = path
        self.makers = makers
        self._machine = machine
        self._head: dict[str, Any] = {"machine": dict(machine)}
        self._boards: list[Board] = []

    @contextmanager
    def shown(self, done: int) -> Iterator[None]:
        """Show on the boards what is appended in the ``with`` block, ``done`` steps being done."""
        with ExitStack() as stack:
            for make in self.makers:
                board = make(self.path.parent, done, self._machine)
                self._boards.append(stack.enter_context(closing(board)))
            try:
                yield
            finally:
                self._boards = []

    def append(self, row: dict[str, Any]) -> None:
        """Write one line."""
        rounded = {k: round(v, 6) if isinstance(v, float) else v for k, v in row.items()}
        rounded |= self._head
        self._head = {}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(rounded) + "\n")
        numbers = {k: v for k, v in row.items() if k != "step" and isinstance(v, (int, float))}
        for board in self._boards:
            board.show(row["step"], numbers)

    def truncate(self, step: int) -> None:
        """Drop the lines behind ``step``: the steps are about to be done again."""
        if not self.path.exists():
            return
        lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True)
        with replacing(self.path) as file:
            file.writelines(line.encode() for line in lines if _step(line) <= step)


def _step(line: str) -> float:
    """The step of a line; infinite for one that was cut off as it was written."""
    try:
        return json.loads(line)["step"]
    except (json.JSONDecodeError, KeyError, TypeError):
        return float("inf")
