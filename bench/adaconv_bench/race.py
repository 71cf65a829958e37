"""One case: check every provider, then time those that passed, interleaved in this process."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch

from adaconv_bench import machine
from adaconv_bench.gate import Gate, Results, Verdict
from adaconv_bench.registry import Case, Place, Problem, Provider, draw
from adaconv_bench.timing import Budget, Samples, Turn, interleave

#: The directions that are timed: the forward pass of a training step, the rest, and the whole step.
FORWARD, BACKWARD, STEP = "forward", "backward", "forward+backward"

#: Samples of the gate's checks in fp64.
CHECKED = 2

#: Name under which the rounds of the case that a case of a sweep is compared with are kept.
NEAREST = "nearest"


@dataclass
class Race:
    """What was found out about the providers of one case, by their names.

    Attributes:
        verdicts: what the gate said; a provider with a failure may have none.
        failures: why a provider could not run at all.
        samples: seconds of each round, of the providers that passed the gate and of the limits.
    """

    verdicts: dict[str, Verdict] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    samples: Samples = field(default_factory=dict)

    def passed(self, name: str) -> bool:
        """Whether the provider may be timed."""
        return name not in self.failures and self.verdicts[name].green


@dataclass(frozen=True)
class Track:
    """Under which conditions a race is run.

    Attributes:
        case: the call.
        yardstick: the formulation whose error is the measure of errors.
        batch: samples per call.
        threads: threads that torch computes with.
        budget: how many rounds are timed.
        dtype: dtype of the call.
        place: where the case stands in a sweep.
        nearest_batch: samples per call of the case that it is compared with in that sweep.
    """

    case: Case
    yardstick: Provider
    batch: int
    threads: int
    budget: Budget
    dtype: torch.dtype = torch.float32
    place: Place | None = None
    nearest_batch: int = 64

    @property
    def checked(self) -> int:
        """Samples of the checks in fp64; those of a sweep may have pictures too large for more."""
        return min(CHECKED, self.batch) if self.place else CHECKED

    def problem(self, provider: Provider, case: Case | None = None, batch: int = 0) -> Problem:
        """Return what a provider computes: the case of this track, or another."""
        dtype = provider.dtype or self.dtype
        return draw(case or self.case, batch or self.batch, dtype, self.dtype)


def run_race(
    track: Track, providers: Sequence[Provider], *, limits: bool = False, warm_up: int = 0
) -> Race:
    """Check the providers, then time them in turns; the first is the one under test.

    Where the provider under test is wrong, or cannot run, nothing is timed.

    Args:
        track: the conditions.
        providers: the contestants.
        limits: whether the machine's matrix product and copy take part.
        warm_up: rounds that are not counted, after the step that each provider makes for the gate.
    """
    torch.set_num_threads(track.threads)
    problems = Problems(track)
    race = _check(track, providers, problems)
    if not race.passed(providers[0].name):
        return race
    turns = {p.name: turn_of(problems.of(p), p) for p in providers if race.passed(p.name)}
    if track.place:
        nearest = track.problem(providers[0], track.place.nearest, track.nearest_batch)
        turns[NEAREST] = turn_of(nearest, providers[0])
    if limits:
        turns |= machine.limits(track.dtype)
    race.samples = interleave(turns, track.budget, warm_up=warm_up)
    return race


class Problems:
    """The timed problem in each dtype that a provider computes in."""

    def __init__(self, track: Track) -> None:
        self.track = track
        self.drawn: dict[torch.dtype, Problem] = {}

    def of(self, provider: Provider) -> Problem:
        """Return the problem of a provider."""
        dtype = provider.dtype or self.track.dtype
        if dtype not in self.drawn:
            self.drawn[dtype] = self.track.problem(provider)
        return self.drawn[dtype]


def _check(track: Track, providers: Sequence[Provider], problems: Problems) -> Race:
    race = Race()
    gate = Gate(track.case, track.yardstick, track.dtype, track.checked)
    found: dict[str, Results] = {}
    for provider in providers:
        try:
            found[provider.name] = _results(problems, provider)
            race.verdicts[provider.name] = gate.check(provider)
        except Exception as error:  # a compiler or backend that this machine lacks is a finding
            race.failures[provider.name] = explain(error)
    measure = found.get(_peer(track, providers)) or _results(problems, track.yardstick)
    for name in race.verdicts:
        race.verdicts[name] |= gate.check_full_size(found[name], measure)
    return race


def _peer(track: Track, providers: Sequence[Provider]) -> str:
    """Return whom results at full size are compared with: preferably someone who runs anyway."""
    names = [provider.name for provider in providers]
    return track.yardstick.name if len(names) == 1 or track.yardstick.name in names else names[-1]


def explain(error: BaseException) -> str:
    """Return the kind and the first line of an error, or of the one that caused it."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines() or ["no message"]
    return f"{type(error).__name__}: {lines[0]}"


def _results(problems: Problems, provider: Provider) -> Results:
    problem = problems.of(provider)
    with provider.active():
        return problem.results()


def turn_of(problem: Problem, provider: Provider) -> Turn:
    """Return the turn that times one step of ``problem``, computed by ``provider``."""

    def turn() -> Mapping[str, float]:
        with provider.active():
            start = time.perf_counter()
            y = problem.forward()
            middle = time.perf_counter()
            gradients = problem.backward(y)
            end = time.perf_counter()
        del gradients  # freed outside of the timed span, as an optimizer would
        return {FORWARD: middle - start, BACKWARD: end - middle, STEP: end - start}

    return turn
