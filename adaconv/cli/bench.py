"""``adaconv bench``."""

from pathlib import Path

import tyro

from adaconv.cli._usage import UsageError, bench_module, check_backends, usage


def bench(
    op: tyro.conf.Positional[str] = "adaptive_conv",
    *,
    preset: str | None = None,
    quick: bool = False,
    against: tuple[str, ...] = ("eager",),
    backend: str | None = None,
    dtype: tuple[str, ...] = ("float32",),
    batch: int | None = None,
    threads: int | None = None,
    repeats: int | None = None,
    seconds: float = 6.0,
    json: Path | None = None,
    csv: Path | None = None,
    plot: Path | None = None,
) -> int:
    """Measure an operator against plain PyTorch, torch.compile and the machine's own limit.

    Each number stands beside a check that the same call computes the right thing: where one does
    not, no speed-up is shown and the exit code is 1. `adaconv bench all` measures every operator,
    `adaconv bench cost` what adaptivity costs, and `adaconv bench train` whole training steps.

    For example:
        adaconv bench --quick
        adaconv bench adaptive_conv --against eager compile limit --json out.json --plot out.png
        adaconv bench --preset adagan-stl10 --batch 16
        adaconv bench --dtype bfloat16 --against eager limit
        adaconv bench --preset sweep --against limit --csv sweep.csv --plot sweep.png

    Args:
        op: Operator to measure.
        preset: Set of shapes: adagan-cifar10 (the default), adagan-stl10, quick, second-order
            (gradients of gradients), or sweep, which varies one thing at a time beside the nearest
            of the tuned shapes.
        quick: The same as --preset quick.
        against: What to compare with: eager or compile (the formulation that a trial finds the
            fastest for each layer), eager-tuned (with an allocator that keeps its memory), limit
            (matrix product, copy and multiplications of this machine), or a backend's name.
        backend: Backend to measure; by default the best that runs.
        dtype: Numbers to compute with: float32, bfloat16 or float16; the latter two are compared
            with adaconv's float32 too.
        batch: Images per call; by default the preset's.
        threads: CPU threads to compute with; by default one per core.
        repeats: Timed rounds; by default as many as fit into --seconds.
        seconds: Time for the rounds of one case.
        json: File to write every number to.
        csv: File to write a line for each provider, direction and case to; plots are made from it
            alone: python -m adaconv_bench.plot IN.csv OUT.png.
        plot: PNG file to draw the speed-ups to.
    """
    if quick and preset is not None:
        raise UsageError(f"--quick stands for --preset quick, got --preset {preset} as well")
    check_backends(backend)
    benchmark = bench_module()
    with usage():
        return benchmark.run(
            op,
            preset="quick" if quick else preset or "adagan-cifar10",
            against=against,
            backend=backend,
            dtype=dtype,
            batch=batch,
            threads=threads,
            repeats=repeats,
            seconds=seconds,
            json=json,
            csv=csv,
            plot=plot,
        )
