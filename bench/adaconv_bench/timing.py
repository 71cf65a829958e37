"""Interleaved timing: A B A B …, so that a change of the machine's speed meets everyone alike."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

#: Times one contestant's turn; returns seconds by direction, for instance {"forward": 0.1}.
Turn = Callable[[], Mapping[str, float]]

#: seconds[contestant][direction][round]
Samples = dict[str, dict[str, list[float]]]


@dataclass(frozen=True)
class Budget:
    """How many rounds to time.

    Attributes:
        repeats: exact number of rounds; ``None`` takes as many as fit into ``seconds``.
        seconds: time for one case, in seconds; exceeded where ``least`` rounds need more.
        least: smallest number of rounds.
        most: largest number of rounds.
    """

    repeats: int | None = None
    seconds: float = 6.0
    least: int = 3
    most: int = 50

    def __post_init__(self) -> None:
        if self.repeats is not None and self.repeats < 1:
            raise ValueError(f"repeats must be at least 1, got {self.repeats}")
        if self.seconds <= 0:
            raise ValueError(f"seconds must be positive, got {self.seconds}")

    def allows(self, done: int, elapsed: float) -> bool:
        """Whether another round may follow ``done`` rounds that took ``elapsed`` seconds."""
        if self.repeats is not None:
            return done < self.repeats
        if done < self.least:
            return True
        return done < self.most and elapsed * (done + 1) / done <= self.seconds


@dataclass(frozen=True)
class Summary:
    """Median and spread of one contestant in one direction, in seconds."""

    median: float
    p20: float
    p80: float
    count: int

    @classmethod
    def of(cls, seconds: Sequence[float]) -> "Summary":
        """Summarise the rounds.

        Example:
            >>> Summary.of([3.0, 1.0, 2.0])
            Summary(median=2.0, p20=1.4, p80=2.6, count=3)
        """
        return cls(
            statistics.median(seconds), quantile(seconds, 0.2), quantile(seconds, 0.8), len(seconds)
        )


@dataclass(frozen=True)
class Ratio:
    """How many times longer the other takes.

    Attributes:
        medians: the ratio of the two medians.
        pairs: the median of the ratios of the rounds, each of two neighbours in time.
    """

    medians: float
    pairs: float

    @classmethod
    def of(cls, ours: Sequence[float], other: Sequence[float]) -> "Ratio":
        """Compare two contestants round by round.

        Example:
            >>> Ratio.of(ours=[1.0, 2.0, 3.0], other=[4.0, 4.0, 9.0])
            Ratio(medians=2.0, pairs=3.0)
        """
        pairs = [b / a for a, b in zip(ours, other, strict=True)]
        return cls(statistics.median(other) / statistics.median(ours), statistics.median(pairs))


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value below which ``share`` of the others lie, interpolated linearly."""
    ordered = sorted(values)
    position = share * (len(ordered) - 1)
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (position - below) * (ordered[above] - ordered[below])


def interleave(
    turns: Mapping[str, Turn],
    budget: Budget,
    *,
    warm_up: int = 0,
    clock: Callable[[], float] = time.perf_counter,
) -> Samples:
    """Let the contestants take turns and collect what each turn reports.

    Args:
        turns: the contestants by name.
        budget: how many rounds to time.
        warm_up: rounds before those, not counted.
        clock: the current time, in seconds.
    """
    for _ in range(warm_up):
        for turn in turns.values():
            turn()
    samples: Samples = {name: {} for name in turns}
    start, done = clock(), 0
    while budget.allows(done, clock() - start):
        for name, turn in turns.items():
            for direction, seconds in turn().items():
                samples[name].setdefault(direction, []).append(seconds)
        done += 1
    return samples
