"""``adaconv bench roofline``."""

from pathlib import Path

import tyro

from adaconv.cli._usage import usage


def bench_roofline(
    op: tyro.conf.Positional[str] = "adaptive_conv",
    *,
    device: str = "h100",
    preset: str = "adagan-cifar10",
    dtype: tuple[str, ...] = ("float32", "bfloat16"),
    batch: int | None = None,
    csv: Path | None = None,
) -> int:
    """Compute what a GPU needs at least for an operator: nothing is measured, no GPU is needed.

    For each shape: operations, bytes, and the times that these take at the GPU's published rates;
    of any implementation at all, of adaconv's Triton kernels as they are cut, and of plain PyTorch.

    For example:
        adaconv bench roofline
        adaconv bench roofline adaptive_conv --device a100 --preset adagan-stl10 --csv floors.csv

    Args:
        op: Operator.
        device: h100, a100, rtx4090 or mi300x.
        preset: Set of shapes, as of adaconv bench.
        dtype: Numbers to compute with: float32, bfloat16 or float16.
        batch: Images per call; by default the preset's.
        csv: File to write the table to.
    """
    try:
        from adaconv_bench import roofline
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"adaconv bench needs a package that is missing ({error}): pip install 'adaconv[bench]'"
        ) from error
    with usage():
        return roofline.run(op, device=device, preset=preset, dtype=dtype, batch=batch, csv=csv)
