"""What the numbers were measured on: the machine described, and its limits timed."""

import functools
import os
import platform
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import torch

import adaconv
import adaconv.cpu
from adaconv_bench.timing import Turn

#: Rows and columns of the square fp32 matrices whose product is the limit of arithmetic.
MATRIX = 2048

#: Bytes of the buffer that is copied; far more than caches hold.
COPIED = 1 << 28

#: Operations of one turn of nothing but multiplications and additions in registers.
MULTIPLIED = 4 * 10**9

MATMUL, COPY, FMA = "torch.mm", "copy", "FMA"


def describe(dtypes: Iterable[torch.dtype] = (torch.float32,)) -> dict[str, str | int | None]:
    """Return what a number depends on: CPU, threads, versions, instruction sets, backends."""
    reasons = adaconv.backends()
    return {
        "cpu": adaconv.cpu.processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "dtype": ", ".join(map(dtype_name, dtypes)),
        "torch": torch.__version__,
        "torch_simd": torch.backends.cpu.get_cpu_capability(),
        "adaconv": adaconv.__version__,
        "adaconv_simd": None if adaconv.cpu.unavailable else adaconv.cpu.variant(),
        "adaconv_commit": commit(),
        "python": platform.python_version(),
        "system": platform.platform(),
        **{f"backend_{name}": reason or "can run" for name, reason in reasons.items()},
    }


def dtype_name(dtype: torch.dtype) -> str:
    """Return the name of a dtype as the command line takes it, for instance ``"bfloat16"``."""
    return str(dtype).removeprefix("torch.")


def commit() -> str | None:
    """Return the commit of the checkout that adaconv is imported from, ``None`` outside of one."""
    folder = Path(adaconv.__file__).parent
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout.strip()


def limits(dtype: torch.dtype = torch.float32) -> dict[str, Turn]:
    """Return contestants that time the machine's matrix product, its copy and its arithmetic.

    The matrices have the dtype that is measured; arithmetic is that of the instruction set in use
    for that dtype, and is left out where there is no native module.
    """
    a, b, product = (torch.ones(MATRIX, MATRIX, dtype=dtype) for _ in range(3))
    source = torch.ones(COPIED // 4)
    target = torch.empty_like(source)
    turns = {
        MATMUL: functools.partial(_timed, MATMUL, lambda: torch.mm(a, b, out=product)),
        COPY: functools.partial(_timed, COPY, lambda: target.copy_(source)),
    }
    if adaconv.cpu.unavailable is None:
        turns[FMA] = functools.partial(_timed, FMA, lambda: adaconv.cpu.multiply(dtype, MULTIPLIED))
    return turns


def _timed(direction: str, work: Callable[[], object]) -> dict[str, float]:
    start = time.perf_counter()
    work()
    return {direction: time.perf_counter() - start}


#: limit → its unit, and the rate of a turn of so many seconds; a copy counts reads and writes.
RATES: dict[str, tuple[str, Callable[[float], float]]] = {
    MATMUL: ("GFLOP/s", lambda seconds: 2 * MATRIX**3 / seconds / 1e9),
    COPY: ("GB/s", lambda seconds: 2 * COPIED / seconds / 1e9),
    FMA: ("GFLOP/s", lambda seconds: MULTIPLIED / seconds / 1e9),
}
