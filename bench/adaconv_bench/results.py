"""The numbers of a run, flat enough for a table, a JSON file and a database of many runs."""

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from adaconv_bench import machine
from adaconv_bench.gate import Verdict
from adaconv_bench.race import BACKWARD, FORWARD, NEAREST, STEP, Race, Track
from adaconv_bench.registry import OURS, Case, Provider, used_flops
from adaconv_bench.timing import Ratio, Summary

#: direction → its work in units of the forward pass: the backward pass is two products of its size.
WORK = {FORWARD: 1, BACKWARD: 2, STEP: 3}

#: A sweep's case is no cliff as long as its rate is this part of the nearest tuned shape's.
CLIFF = 1 / 1.5


@dataclass(frozen=True)
class Row:
    """One provider on one case in one direction.

    Attributes:
        case: short name of the case.
        title: what the case is.
        provider: who computed.
        direction: ``"forward"``, ``"backward"`` or ``"forward+backward"``.
        batch: samples per call.
        dtype: dtype that adaconv computed in; a provider that is named after another one used that.
        threads: threads that torch computed with.
        seconds: time of one call; ``None`` where nothing was timed.
        speedup: how many times longer this provider takes than adaconv; ``None`` for adaconv.
        gflops: rate in GFLOP/s, counted densely, the backward pass as twice the forward.
        used_gflops: the same without the taps that fall on zero padding, which may be skipped.
        of_limit: the dense rate over the rate of ``torch.mm`` in the same rounds.
        of_fma: the dense rate over that of multiplications in registers in the same rounds.
        used_of_fma: the skip-aware rate over that: the fraction of what the machine can do.
        dimension: of a sweep, what is varied.
        value: what it is in this case.
        nearest: the case that this one is compared with.
        of_nearest: its skip-aware rate over that of the nearest in the same rounds.
        memory: peak above inputs and parameters of one forward and backward pass, in MiB.
        verdict: what the gate said.
        failure: why the provider could not run.
    """

    case: str
    title: str
    provider: str
    direction: str
    batch: int
    dtype: str = "float32"
    threads: int = 0
    seconds: Summary | None = None
    speedup: Ratio | None = None
    gflops: float | None = None
    used_gflops: float | None = None
    of_limit: float | None = None
    of_fma: float | None = None
    used_of_fma: float | None = None
    dimension: str | None = None
    value: str | None = None
    nearest: str | None = None
    of_nearest: float | None = None
    memory: float | None = None
    verdict: Verdict = field(default_factory=Verdict)
    failure: str | None = None

    @property
    def green(self) -> bool:
        """Whether the provider ran and every check of it passed."""
        return self.failure is None and self.verdict.green


def row_of(
    track: Track,
    provider: Provider,
    direction: str,
    race: Race,
    memory: Mapping[tuple[str, str], float],
) -> Row:
    """Gather what was found about a provider; ``memory`` is in MiB, by case and provider."""
    case, name = track.case, provider.name
    row = Row(
        case.name,
        case.title,
        name,
        direction,
        track.batch,
        machine.dtype_name(track.dtype),
        track.threads,
        verdict=race.verdicts.get(name, Verdict()),
        failure=race.failures.get(name),
    )
    if name not in race.samples:
        return row
    seconds = race.samples[name][direction]
    row = replace(
        row,
        seconds=Summary.of(seconds),
        speedup=None if name == OURS else Ratio.of(race.samples[OURS][direction], seconds),
        memory=memory.get((case.name, name)) if direction == STEP else None,
    )
    return _with_place(_with_rates(row, track, provider, race), track, race)


def _with_rates(row: Row, track: Track, provider: Provider, race: Race) -> Row:
    """Add rates, and what they are of the machine's own in the same rounds and dtype."""
    gflops = _rate(track.case, track.batch, row.direction, row.seconds.median, dense=True)
    used = _rate(track.case, track.batch, row.direction, row.seconds.median)
    limits = (
        {}
        if provider.dtype
        else {
            name: rate(Summary.of(race.samples[name][name]).median)
            for name, (_, rate) in machine.RATES.items()
            if name in race.samples
        }
    )
    matrix, fma = limits.get(machine.MATMUL), limits.get(machine.FMA)
    return replace(
        row,
        gflops=gflops,
        used_gflops=used,
        of_limit=matrix and gflops / matrix,
        of_fma=fma and gflops / fma,
        used_of_fma=fma and used / fma,
    )


def _with_place(row: Row, track: Track, race: Race) -> Row:
    """Add where the case stands in its sweep."""
    place = track.place
    if place is None:
        return row
    median = Summary.of(race.samples[NEAREST][row.direction]).median
    rate = _rate(place.nearest, track.nearest_batch, row.direction, median)
    return replace(
        row,
        dimension=place.dimension,
        value=place.value,
        nearest=place.nearest.name,
        of_nearest=row.used_gflops / rate if row.provider == OURS else None,
    )


def _rate(case: Case, batch: int, direction: str, seconds: float, *, dense: bool = False) -> float:
    flops = case.flops(batch) if dense else used_flops(case, batch)
    return WORK[direction] * flops / seconds / 1e9


@dataclass(frozen=True)
class Report:
    """A run.

    Attributes:
        operator: stem of the operator.
        preset: name of the set of cases.
        machine: what the numbers were measured on.
        limits: the machine's own rates in the same run, by name and unit.
        rows: the numbers, by case, direction and provider; adaconv comes before the others.
        notes: what could not be measured, and why.
    """

    operator: str
    preset: str
    machine: Mapping[str, str | int | None]
    limits: Mapping[str, float]
    rows: Sequence[Row]
    notes: Sequence[str] = ()

    def __add__(self, other: "Report") -> "Report":
        """Return both in one, where only the dtype differs."""
        return replace(
            self,
            machine={
                **self.machine,
                "dtype": f"{self.machine['dtype']}, {other.machine['dtype']}",
            },
            limits={**self.limits, **other.limits},
            rows=[*self.rows, *other.rows],
            notes=tuple(dict.fromkeys([*self.notes, *other.notes])),
        )

    @property
    def green(self) -> bool:
        """Whether adaconv ran and every check passed; others may be unable to run here."""
        return bool(self.rows) and all(
            row.green for row in self.rows if row.failure is None or row.provider == OURS
        )

    def content(self) -> dict[str, Any]:
        """Return every number, and what is green, as JSON has it."""
        content = {**asdict(self), "green": self.green}
        for row, plain in zip(self.rows, content["rows"], strict=True):
            plain["green"] = row.green
        return content

    def write_json(self, path: Path) -> None:
        """Write every number to ``path``; the file appears whole or not at all."""
        text = json.dumps(self.content(), indent=2, ensure_ascii=False)
        replace_file(path, text.encode() + b"\n")


def replace_file(path: Path, content: bytes) -> None:
    """Write ``content`` to a new file beside ``path``, then rename it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
