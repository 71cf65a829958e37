"""``adaconv bench static``."""

from pathlib import Path

from adaconv.cli._usage import usage


def bench_static(
    *,
    op: tuple[str, ...] = (),
    case: tuple[str, ...] = (),
    dtype: tuple[str, ...] = (),
    target: tuple[str, ...] = (),
    csv: Path | None = None,
    against: Path | None = None,
    processes: int | None = None,
) -> int:
    """Compile every GPU kernel for GPUs that need not be there, and read the machine code.

    Those are the Triton kernels, of telling cases, and where nvcc is on PATH the CUDA kernels.
    The table has registers, spills, stack, shared memory, instructions of the tensor cores,
    occupancy, how many loads and stores of global memory there are and how many of 16 bytes, and
    what the inner loop is made of. The exit code is 1 where a kernel spills, asks for more shared
    memory than there is, computes a product without tensor cores, or fills less of the GPU than its
    module promises; and where the table is not the one it is compared with. No time is told.

    For example:
        adaconv bench static --against bench/results/static.csv
        adaconv bench static --op adaptive_conv --target sm_90 --csv static.csv

    Args:
        op: Operators; by default all that have Triton kernels.
        case: Names of the operators' telling cases; by default all, and the CUDA kernels, which
            have none.
        dtype: float32, bfloat16, float16; by default all, the last for two cases of an operator.
        target: GPUs: sm_80, sm_90, sm_100, gfx942; by default all.
        csv: File to write the table to.
        against: File of an earlier table, which this one must be equal to.
        processes: How many to compile in, by default one for each core.
    """
    try:
        from adaconv_bench import static
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"adaconv bench needs a package that is missing ({error}): pip install 'adaconv[bench]'"
        ) from error
    with usage():
        return static.run(
            op,
            case=case,
            dtype=dtype,
            target=target,
            csv=csv,
            against=against,
            processes=processes,
        )
