"""``adaconv bench all``."""

from pathlib import Path

from adaconv.cli._usage import bench_module, check_backends, usage


def bench_all(
    *,
    against: str = "eager",
    backend: str | None = None,
    threads: int | None = None,
    repeats: int | None = None,
    seconds: float = 1.0,
    json: Path | None = None,
) -> int:
    """Measure every operator, at sizes that take a few minutes together.

    Each number stands beside a check that the same call computes the right thing; where one of any
    operator does not, the exit code is 1.

    For example:
        adaconv bench all --json out.json

    Args:
        against: What to compare with: eager or compile.
        backend: Backend to measure; by default the best that runs.
        threads: CPU threads to compute with; by default one per core.
        repeats: Timed rounds; by default as many as fit into --seconds.
        seconds: Time for the rounds of one case.
        json: File to write every number to.
    """
    check_backends(backend)
    suite = bench_module("suite")
    with usage():
        return suite.run(
            against=against,
            backend=backend,
            threads=threads,
            repeats=repeats,
            seconds=seconds,
            json=json,
        )
