"""The numbers of a run, flat enough for a table, a JSON file and a database of many runs."""

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from adaconv_bench import machine
from adaconv_bench.gate import Verdict
from adaconv_bench.race import FORWARD, STEP, Race, Track
from adaconv_bench.registry import OURS, Provider
from adaconv_bench.timing import Ratio, Summary

#: direction → its work in units of the forward pass: the backward pass is two products of its size.
WORK = {FORWARD: 1, STEP: 3}


@dataclass(frozen=True)
class Row:
    """One provider on one case in one direction.

    Attributes:
        case: short name of the case.
        title: what the case is.
        provider: who computed.
        direction: ``"forward"`` or ``"forward+backward"``.
        batch: samples per call.
        seconds: time of one call; ``None`` where nothing was timed.
        speedup: how many times longer this provider takes than adaconv; ``None`` for adaconv.
        gflops: rate in GFLOP/s, counted densely, the backward pass as twice the forward.
        of_limit: that rate over the rate of ``torch.mm`` in the same rounds.
        memory: peak above inputs and parameters of one forward and backward pass, in MiB.
        verdict: what the gate said.
        failure: why the provider could not run.
    """

    case: str
    title: str
    provider: str
    direction: str
    batch: int
    seconds: Summary | None = None
    speedup: Ratio | None = None
    gflops: float | None = None
    of_limit: float | None = None
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
        verdict=race.verdicts.get(name, Verdict()),
        failure=race.failures.get(name),
    )
    if name not in race.samples:
        return row
    seconds = race.samples[name][direction]
    summary = Summary.of(seconds)
    gflops = WORK[direction] * case.flops(track.batch) / summary.median / 1e9
    limit = race.samples.get(machine.MATMUL)
    return replace(
        row,
        seconds=summary,
        speedup=None if name == OURS else Ratio.of(race.samples[OURS][direction], seconds),
        gflops=gflops,
        of_limit=None if limit is None else gflops / _matrix_rate(limit),
        memory=memory.get((case.name, name)) if direction == STEP else None,
    )


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

    @property
    def green(self) -> bool:
        """Whether adaconv ran and every check passed; others may be unable to run here."""
        return bool(self.rows) and all(
            row.green for row in self.rows if row.failure is None or row.provider == OURS
        )

    def write_json(self, path: Path) -> None:
        """Write every number to ``path``; the file appears whole or not at all."""
        content = {**asdict(self), "green": self.green}
        for row, plain in zip(self.rows, content["rows"], strict=True):
            plain["green"] = row.green
        replace_file(path, json.dumps(content, indent=2, ensure_ascii=False).encode() + b"\n")


def _matrix_rate(limit: Mapping[str, Sequence[float]]) -> float:
    _, rate = machine.RATES[machine.MATMUL]
    return rate(Summary.of(limit[machine.MATMUL]).median)


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
