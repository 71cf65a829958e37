"""The benchmark of one operator, from its name to the table, the JSON file and the plot."""

import functools
import statistics
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from rich.console import Console

from adaconv_bench import database, machine, table
from adaconv_bench.gate import HALF
from adaconv_bench.processes import environment, in_fresh_process, peak_memory
from adaconv_bench.race import Race, Track, explain, run_race
from adaconv_bench.registry import OURS, Preset, Provider, adaconv_provider, closest, operator
from adaconv_bench.results import WORK, Report, row_of
from adaconv_bench.timing import Budget
from adaconv_bench.trial import settle

#: What ``against`` takes beside the providers: the machine's own rates, timed between the others.
LIMIT = "limit"

#: What can be measured.
DTYPES = {machine.dtype_name(t): t for t in (torch.float32, *HALF)}

#: Name of what a half precision is compared with.
OWN = f"{OURS}-float32"

#: Samples of the trials that settle what a provider runs, where the batch is not smaller.
TRIAL = 8

#: Rounds that are not counted in a process of its own: by then its allocator holds all it needs.
SETTLING = 1


def run(
    op: str = "adaptive_conv",
    *,
    preset: str = "adagan-cifar10",
    against: Sequence[str] = ("eager",),
    backend: str | None = None,
    dtype: Sequence[str] = ("float32",),
    batch: int | None = None,
    threads: int | None = None,
    repeats: int | None = None,
    seconds: float = 6.0,
    json: Path | None = None,
    csv: Path | None = None,
    plot: Path | None = None,
) -> int:
    """Check the operator, measure it against others, and show the ratios.

    Args:
        op: stem of the operator, for instance ``"adaptive_conv"``.
        preset: the set of shapes: ``"adagan-cifar10"``, ``"adagan-stl10"``, ``"quick"``,
            ``"second-order"`` (gradients of gradients) or ``"sweep"`` (one thing varied at a time,
            each beside the nearest layer of AdaGAN).
        against: what to compare with: ``"eager"`` and ``"compile"``, each the formulation that a
            trial finds the fastest for the layer; one of them by name (``"eager-rows"``,
            ``"eager-mulsum"``, ``"eager-conv"``, and the same after ``"compile"``); any eager one
            also with ``"-tuned"`` behind it (an allocator that keeps freed memory); the name of a
            backend; and ``"limit"`` (the machine's matrix product, copy and multiplications in
            registers, measured in the same run).
        backend: backend of adaconv to measure; ``None`` lets adaconv choose.
        dtype: dtypes to measure, ``"float32"``, ``"bfloat16"`` or ``"float16"``; the latter two
            are compared with adaconv's own float32 too.
        batch: samples per call; ``None`` takes the preset's (64, and 2 for ``"quick"``).
        threads: threads that torch computes with; ``None`` leaves torch's own choice.
        repeats: timed rounds per case; ``None`` takes as many as fit into ``seconds``, at least 3.
        seconds: time to spend on the timed rounds of one case, in seconds.
        json: file to write every number to.
        csv: file to write a line for each provider, direction and case to.
        plot: PNG file to draw the speed-ups to.

    Returns:
        The exit code: 0 where adaconv ran and every check passed, 1 otherwise.

    Raises:
        ValueError: an operator, preset, provider or backend is unknown, or a number is too small.
    """
    contests = [
        Contest.of(op, preset, against, backend, name, batch, threads, Budget(repeats, seconds))
        for name in dict.fromkeys(dtype)
    ]
    if not contests:
        raise ValueError(f"dtype must name one of {', '.join(DTYPES)}, got none")
    for path in (json, csv, plot):
        if path is not None and path.is_dir():
            raise ValueError(f"a file must be named to write to, got the folder {path}")
    if plot is not None:
        from adaconv_bench.plot import draw  # needs matplotlib: learn now whether it is there
    console = table.console()
    report = functools.reduce(Report.__add__, [c.measure(console) for c in contests])
    table.show(report, console)
    if json is not None:
        report.write_json(json)
        console.print(f"numbers: {json}", markup=False)
    lines = database.records(report)
    if csv is not None:
        database.write(lines, csv)
        console.print(f"lines: {csv}", markup=False)
    if plot is not None and lines:
        draw(lines, plot)
        console.print(f"plot: {plot}", markup=False)
    return 0 if report.green else 1


@dataclass
class Contest:
    """Everything that one run measures, decided and checked before it starts.

    Attributes:
        op: stem of the operator.
        preset: name of the set of cases.
        tracks: the conditions of each case.
        ours: adaconv.
        others: what it is compared with.
        limits: whether the machine's own rates are measured too.
        notes: what could not be measured, and why.
    """

    op: str
    preset: str
    tracks: Sequence[Track]
    ours: Provider
    others: Sequence[Provider]
    limits: bool
    notes: list[str] = field(default_factory=list)

    @classmethod
    def of(
        cls,
        op: str,
        preset: str,
        against: Sequence[str],
        backend: str | None,
        dtype: str,
        batch: int | None,
        threads: int | None,
        budget: Budget,
    ) -> "Contest":
        """Resolve the names; arguments as for :func:`run`."""
        for name, number in (("batch", batch), ("threads", threads)):
            if number is not None and number < 1:
                raise ValueError(f"{name} must be at least 1, got {number}")
        known = operator(op)
        cases = known.presets[closest(preset, known.presets, f"preset of {op}")]
        for name in against:
            closest(name, [*known.choices, LIMIT], f"provider of {op}")
        chosen = DTYPES[closest(dtype, DTYPES, "dtype")]
        ours = adaconv_provider(backend)
        others = [known.provider(name) for name in dict.fromkeys(against) if name != LIMIT]
        if chosen in HALF:
            others.insert(0, replace(ours, name=OWN, dtype=torch.float32))
        return cls(
            op,
            preset,
            _tracks(cases, known.provider(known.yardstick), chosen, batch, threads, budget),
            ours,
            others,
            LIMIT in against,
        )

    @property
    def dtype(self) -> torch.dtype:
        """The dtype that is measured."""
        return self.tracks[0].dtype

    def measure(self, console: Console) -> Report:
        """Run every race, then measure the memory of those that passed."""
        threads = torch.get_num_threads()
        torch.set_num_threads(self.tracks[0].threads)
        try:
            with console.status("trials: the best formulation for each layer"):
                self._settle()
            races = [self._race(track, console) for track in self.tracks]
            with console.status("peak memory, each in a fresh process"):
                memory = self._memory(races)
            rows = [
                row_of(track, provider, direction, race[provider.name], memory)
                for track, race in zip(self.tracks, races, strict=True)
                for direction in WORK
                for provider in (self.ours, *self.others)
            ]
            return Report(
                self.op,
                self.preset,
                machine.describe([self.dtype]),
                _rates(races, self.dtype),
                rows,
                tuple(self.notes),
            )
        finally:
            torch.set_num_threads(threads)

    def _settle(self) -> None:
        """Let each provider that has a choice make it, each under its own conditions."""
        self.others = [self._settled(provider) for provider in self.others]
        settled = {provider.name: provider for provider in self.others}
        self.tracks = [
            replace(track, yardstick=settled.get(track.yardstick.name, track.yardstick))
            for track in self.tracks
        ]

    def _settled(self, provider: Provider) -> Provider:
        """Return the provider with its choice made; it keeps its default where the trial fails."""
        if provider.choose is None:
            return provider
        cases, batch = [track.case for track in self.tracks], min(TRIAL, self.tracks[0].batch)
        try:
            with environment(provider.environment):
                settled = in_fresh_process(
                    settle, provider, cases, batch, self.dtype, torch.get_num_threads()
                )
        except Exception as error:
            self.notes.append(f"{provider.name}: the trial failed: {explain(error)}")
            return provider
        self.notes.append(f"{provider.name}: {settled.note}; each the fastest on a trial")
        return settled

    def _race(self, track: Track, console: Console) -> dict[str, Race]:
        """Return the race that each provider took part in, by its name."""
        here = [self.ours, *(p for p in self.others if not p.environment)]
        with console.status(f"{track.case.name}: {', '.join(p.name for p in here)}"):
            race = run_race(track, here, limits=self.limits)
        races = {provider.name: race for provider in here}
        for provider in self.others:
            if provider.environment:
                with console.status(f"{track.case.name}: {provider.name}"):
                    races[provider.name] = self._race_apart(track, provider)
        return races

    def _race_apart(self, track: Track, provider: Provider) -> Race:
        try:
            with environment(provider.environment):
                race = in_fresh_process(run_race, track, [self.ours, provider], warm_up=SETTLING)
        except Exception as error:  # such as a process that was killed for its memory
            return Race(failures={provider.name: explain(error)})
        if OURS in race.failures:
            race.failures[provider.name] = f"adaconv failed: {race.failures[OURS]}"
        elif not race.passed(OURS):
            race.verdicts[provider.name] = race.verdicts[OURS]
        return race

    def _memory(self, races: Sequence[Mapping[str, Race]]) -> dict[tuple[str, str], float]:
        """Return the peak memory in MiB by case and provider, of those that were timed."""
        wanted = [
            (track, provider)
            for track, race in zip(self.tracks, races, strict=True)
            for provider in (self.ours, *self.others)
            if provider.has_memory and not provider.environment and not provider.dtype
            if provider.name in race[provider.name].samples
        ]

        def measure(track: Track, provider: Provider) -> float | None:
            try:
                return in_fresh_process(
                    peak_memory, track.case, provider, track.batch, track.threads, track.dtype
                )
            except Exception as error:
                self.notes.append(f"{track.case.name}, {provider.name}, memory: {explain(error)}")
                return None

        with ThreadPoolExecutor(2) as pool:
            peaks = list(pool.map(measure, *zip(*wanted, strict=True))) if wanted else []
        return {
            (track.case.name, provider.name): peak
            for (track, provider), peak in zip(wanted, peaks, strict=True)
            if peak is not None
        }


def _tracks(
    preset: Preset,
    yardstick: Provider,
    dtype: torch.dtype,
    batch: int | None,
    threads: int | None,
    budget: Budget,
) -> list[Track]:
    """Return the conditions of each case of a preset."""
    tracks = []
    for case in preset.cases:
        place = preset.places.get(case.name)
        samples = batch or (place.batch if place else preset.batch)
        nearest = batch or preset.batch
        threads = threads or torch.get_num_threads()
        tracks.append(
            Track(case, yardstick, samples, threads, budget, dtype, place, nearest_batch=nearest)
        )
    return tracks


def _rates(races: Sequence[Mapping[str, Race]], dtype: torch.dtype) -> dict[str, float]:
    """Return the machine's own rates over all races, the median and the best."""
    rates = {}
    for name, (unit, rate) in machine.RATES.items():
        samples = [race[OURS].samples.get(name, {}).get(name, []) for race in races]
        if seconds := [second for rounds in samples for second in rounds]:
            label = f"{name} {machine.dtype_name(dtype)}, {unit}"
            rates[label] = rate(statistics.median(seconds))
            rates[f"{label}, best"] = rate(min(seconds))
    return rates
