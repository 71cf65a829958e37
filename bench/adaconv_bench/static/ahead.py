"""The CUDA kernels, which nvcc compiles ahead of time, as lines of the same table."""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from adaconv_kernels._promises import Promise

from adaconv import cuda
from adaconv_bench.static.code import Code, code_of, disassembled, spilled
from adaconv_bench.static.gate import Row, faults, line_of
from adaconv_bench.static.targets import TARGETS

#: The sources, which an installed package has not: those of the checkout that it is run in.
CHECKOUTS = (Path(__file__).parents[3], Path.cwd())
SOURCES = next((c / "csrc/cuda" for c in CHECKOUTS if (c / "csrc/cuda").is_dir()), None)

#: The types that kernels are instantiated for, as C++ calls them.
DTYPES = {"float": "float32", "__half": "float16", "__nv_bfloat16": "bfloat16"}

#: What kernels promise; all have the products that are promised of them. Shared memory that a
#: launch adds is not in the machine code, and not in the occupancy.
PROMISES = {
    ("adaptive_conv", "forward_kernel"): Promise(products=1, occupancy=0.125),
    ("adaptive_conv", "inputs_kernel"): Promise(products=1, occupancy=0.125),
    ("adaptive_conv", "weights_kernel"): Promise(products=1, occupancy=0.125),
    ("adaptive_separable", "sums_kernel"): Promise(products=1, occupancy=0.125),
    ("adaptive_separable", "features_kernel"): Promise(products=1, occupancy=0.125),
    ("adaptive_separable", "weights_kernel"): Promise(products=1, occupancy=0.125),
    ("local_adaptive", "product_kernel"): Promise(products=1, occupancy=0.125),
    # A tile of sums is in registers: a thread's stores hide each other's latency.
    ("dynamic_conv", "weight_kernel"): Promise(occupancy=0.25),
    # A lane has its row and its distances in registers; none waits for another.
    ("minibatch_discrimination", "forward_kernel"): Promise(occupancy=0.25),
    ("minibatch_discrimination", "backward_kernel"): Promise(occupancy=0.125),
}


@dataclass(frozen=True)
class Kernel:
    """A kernel that was compiled.

    Attributes:
        operator: its operator's stem.
        name: its function's name.
        dtype: its type of numbers; ``"any"`` where it has none.
        tile: its other template arguments.
        warps: of its largest block.
        shared: bytes of shared memory that are known to the compiler; what a launch adds is not.
        code: its machine code.
    """

    operator: str
    name: str
    dtype: str
    tile: str
    warps: int
    shared: int
    code: Code


def why_not() -> str | None:
    """Return why the CUDA kernels cannot be compiled here; None where they can."""
    if shutil.which("nvcc") is None:
        return "there is no nvcc on PATH"
    return None if SOURCES else f"their sources, csrc/cuda of a checkout, are not in {Path.cwd()}"


def version() -> str:
    """Return the compiler's name and version."""
    told = subprocess.run(["nvcc", "--version"], capture_output=True, text=True, check=True).stdout
    return "nvcc " + re.findall(r"V(\d+\.\d+\.\d+)", told)[0]


def rows(
    stems: Sequence[str], dtypes: Sequence[str], targets: Sequence[str], processes: int | None
) -> tuple[list[Row], list[str]]:
    """Return a line for each kernel on each of NVIDIA's GPUs, and all faults; see why_not."""
    targets = [name for name in targets if TARGETS[name].backend == "cuda"]
    jobs = [
        (stem, source, name)
        for stem in stems
        if stem in cuda.OPERATORS
        for name in targets
        for source in sorted(SOURCES.glob(f"{stem}*.cu"))
    ]
    with ThreadPoolExecutor(processes or os.cpu_count()) as pool:
        found = list(pool.map(lambda job: list(compiled(*job)), jobs))
    lines: dict[tuple, tuple[Row, list[str]]] = {}
    for (_, _, target), kernels in zip(jobs, found, strict=True):
        for kernel in kernels:
            if kernel.dtype in (*dtypes, "any"):
                line = _row(kernel, target)
                lines.setdefault(tuple(line[0].values()), line)  # may stand in many sources
    return [row for row, _ in lines.values()], [one for _, wrong in lines.values() for one in wrong]


def _row(kernel: Kernel, target: str) -> tuple[Row, list[str]]:
    head = {
        "backend": "cuda", "operator": kernel.operator, "case": "any", "dtype": kernel.dtype,
        "target": target, "kernel": kernel.name, "tile": kernel.tile, "warps": kernel.warps,
        "stages": 1,
    }  # fmt: skip
    row = line_of(head, kernel.code, kernel.shared)
    promise = PROMISES.get((kernel.operator, kernel.name), Promise())
    return row, faults(row, promise, promise.products)


def compiled(stem: str, source: Path, target: str) -> Iterator[Kernel]:
    """Compile a source for a GPU; return its kernels.

    Raises:
        RuntimeError: nvcc fails; with what it said.
    """
    with tempfile.TemporaryDirectory() as folder:
        cubin = Path(folder) / "cubin"
        command = ["nvcc", "-std=c++17", "-O3", f"-arch={target}", "-cubin", source, "-o", cubin]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"nvcc cannot compile {source.name}: {done.stderr}")
        usage, listing = disassembled(cubin)
    names = re.findall(r"Function (\S+):\n\s*REG:(\d+) STACK:(\d+) SHARED:(\d+)", usage)
    readable = subprocess.run(
        ["c++filt"], input="\n".join(name for name, *_ in names), capture_output=True, text=True,
        check=True,
    ).stdout.splitlines()  # fmt: skip
    sections = dict(re.findall(r"^\t\.section\t(\S+?),(.*?)(?=^//-{8}|\Z)", listing, re.M | re.S))
    for (mangled, *numbers), signature in zip(names, readable, strict=True):
        registers, stack, shared = map(int, numbers)
        code = sections[f".text.{mangled}"]
        name, dtype, tile = parts_of(signature)
        yield Kernel(
            stem, name, dtype, tile, _threads(sections[f".nv.info.{mangled}"]) // 32,
            max(0, shared - TARGETS[target].reserved),
            code_of("cuda", (registers, stack, spilled(code)), code),
        )  # fmt: skip


def parts_of(signature: str) -> tuple[str, str, str]:
    """Return a kernel's name, its dtype, and its other template arguments.

    Example:
        >>> parts_of("void adaconv::cuda::stem::some_kernel<__half, 8, true>(int)")
        ('some_kernel', 'float16', '8 true')
        >>> parts_of("void adaconv::cuda::some_kernel<float, 2, adaconv::cuda::Problem>()")
        ('some_kernel', 'float32', '2 Problem')
        >>> parts_of("adaconv::cuda::other_kernel()")
        ('other_kernel', 'any', '')
    """
    match = re.search(r"(\w+)(?:<([^<>]*)>)?\(", signature)
    if match is None:
        raise ValueError(f"a kernel's signature must have a name, got {signature!r}")
    first, *others = (match[2] or "any").split(", ")
    tile = " ".join(other.rpartition("::")[2] for other in others)
    return match[1], DTYPES.get(first, "any"), tile


def _threads(info: str) -> int:
    """Return the threads of a kernel's largest block, as __launch_bounds__ says."""
    bound = re.search(r"EIATTR_MAX_THREADS\n(?:.*\n)*?.*\.word\t0x([0-9a-f]+)", info)
    if bound is None:
        raise ValueError("a kernel must have __launch_bounds__")
    return int(bound[1], 16)
