"""``adaconv bench cost``."""

from pathlib import Path

from adaconv.cli._usage import bench_module, check_backends, usage


def bench_cost(
    *,
    channels: tuple[int, ...] = (16, 32, 64, 128, 256),
    size: int = 32,
    batch: int = 16,
    backend: str | None = None,
    threads: int | None = None,
    seconds: float = 6.0,
    memory_limit: float = 8.0,
    json: Path | None = None,
    csv: Path | None = None,
    plot: Path | None = None,
) -> int:
    """Measure what adaptivity costs beside nn.Conv2d, against channels.

    Time and memory of a convolution and of the blocks that take its place, forward and backward.
    Each is checked before it is timed; where one computes something wrong, the exit code is 1.

    For example:
        adaconv bench cost --channels 16 32 64
        adaconv bench cost --csv cost.csv --plot cost.png

    Args:
        channels: Channels of input and output.
        size: Height and width of the pictures.
        batch: Pictures per call.
        backend: Backend to measure; by default the best that runs.
        threads: CPU threads to compute with; by default one per core.
        seconds: Time for the timed rounds of one number of channels.
        memory_limit: GiB that the adaptive block in plain PyTorch may take; where it would take
            more it is left out.
        json: File to write every number to.
        csv: File to write a line for each module and number of channels to; the plot can be made
            from it alone: python -m adaconv_bench.plot IN.csv OUT.png.
        plot: PNG file to draw time and memory to.
    """
    check_backends(backend)
    cost = bench_module("cost")
    with usage():
        return cost.run(
            channels=channels,
            size=size,
            batch=batch,
            backend=backend,
            threads=threads,
            seconds=seconds,
            memory_limit=memory_limit,
            json=json,
            csv=csv,
            plot=plot,
        )
