"""``adaconv bench locality``."""

from pathlib import Path

from adaconv.cli._usage import bench_module, check_backends, usage


def bench_locality(
    *,
    data: str = "twemoji",
    channels: int = 32,
    size: int = 32,
    batch: int = 4,
    steps: int = 150,
    pitch: tuple[int, ...] = (2, 4, 8),
    neighbours: tuple[int, ...] = (4, 9),
    backend: str | None = None,
    threads: int | None = None,
    json: Path | None = None,
) -> int:
    """Measure what regressing weights on a grid loses, and what it saves.

    An AdaConvBlock learns to remove noise from features of pictures; blocks with a grid are fitted
    to its outputs. The errors are those for pictures that none of them has seen; a Conv2d shows
    what weights that are the same everywhere lose. Where a fitted block computes something else
    than the specification, the exit code is 1.

    For example:
        adaconv bench locality --pitch 2 4 --neighbours 4 9
        adaconv bench locality --data folder:PICTURES --json locality.json

    Args:
        data: Images, as of adaconv train.
        channels: Channels of input and output.
        size: Height and width of the pictures.
        batch: Pictures per step.
        steps: Steps of Adam, for every module.
        pitch: Distances of the grids' points.
        neighbours: Points that a pixel's weights are mixed from, 4 or 9.
        backend: Backend to measure; by default the best that runs.
        threads: CPU threads to compute with; by default one per core.
        json: File to write every number to.
    """
    check_backends(backend)
    locality = bench_module("locality")
    with usage():
        return locality.run(
            data=data,
            channels=channels,
            size=size,
            batch=batch,
            steps=steps,
            pitch=pitch,
            neighbours=neighbours,
            backend=backend,
            threads=threads,
            json=json,
        )
