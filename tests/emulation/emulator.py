"""Compiles the CUDA sources for the host, see ``csrc/emulation/device.h``, and calls them."""

import collections
import concurrent.futures
import csv
import ctypes
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from adaconv.cuda import _native
from adaconv.cuda._native import DTYPES as DTYPES

ROOT = Path(__file__).parents[2]
RUNTIME = sorted((ROOT / "csrc/emulation").glob("*.cpp"))
COMPILER = os.environ.get("CXX", "g++")
FLAGS = [
    "-std=c++17", "-O1", "-g1", "-fPIC", "-fvisibility=hidden", "-fno-strict-aliasing",
    "-fno-omit-frame-pointer", "-pthread", "-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas",
]  # fmt: skip
SANITIZERS = os.environ.get("ADACONV_SANITIZE", "")  # of the kernels, not of what tests them


def why_not() -> str | None:
    """Return why nothing can be emulated here; None where it can."""
    if shutil.which(COMPILER) is None:
        return f"the emulation needs a C++ compiler, {COMPILER} is none"
    if os.uname().machine != "x86_64":
        return "the emulation switches stacks on x86-64 alone"
    return None


def has(sanitizer: str) -> bool:
    """Return whether the compiler's runtime library for a sanitizer is there."""
    name = f"lib{sanitizer[:1]}san.so"
    found = subprocess.run([COMPILER, f"-print-file-name={name}"], capture_output=True, text=True)
    return not sanitizer or found.stdout.strip() != name


def some(calls):
    """Return a part of the calls where sanitizers slow them down."""
    return calls[::6] if SANITIZERS else calls


def compile_object(folder: Path, source: Path, sanitizers: str = "") -> Path:
    """Compile one source; the runtime is never sanitized."""
    extra = [] if source in RUNTIME or not sanitizers else [f"-fsanitize={sanitizers}"]
    target = folder / f"{source.stem}-{sanitizers if extra else 'plain'}.o"
    command = [COMPILER, *FLAGS, *extra, "-x", "c++", "-c", str(source), "-o", str(target)]
    subprocess.run(command, check=True)
    return target


def link(target: Path, objects: list[Path], *options: str) -> Path:
    """Link a program, or a library."""
    command = [COMPILER, "-pthread", *options, *map(str, objects), "-o", str(target)]
    subprocess.run(command, check=True)
    return target


def in_parallel(jobs):
    """Return the results of functions that each wait for a process."""
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        return [job.result() for job in [pool.submit(job) for job in jobs]]


def argument(value):
    """Return what stands for a tensor, or a number that may be missing."""
    is_number = isinstance(value, int)
    return ctypes.byref(ctypes.c_int64(value)) if is_number else _native.argument(value)


MISSING = _native.argument(None)


class Library(_native.Library):
    """The C functions of csrc/cuda in an emulated build, which are called with CPU tensors."""

    def __init__(self, path: Path):
        super().__init__(path, "cpu")
        self.functions.adaconv_emulation_counts.restype = ctypes.c_char_p

    def counted(self, run) -> list[dict[str, str]]:
        """Run a function and return what memory had to do, a row for each place of a kernel."""
        self.functions.adaconv_emulation_count(1)
        try:
            run()
            return list(
                csv.DictReader(self.functions.adaconv_emulation_counts().decode().splitlines())
            )
        finally:
            self.functions.adaconv_emulation_count(0)

    def call(self, name, like, *arguments) -> None:
        """Call a function for a tensor, or for a dtype."""
        super().call(name, _of(like), *arguments)

    def scratch(self, name, like, *arguments) -> torch.Tensor:
        """Return as much memory as a function asks for, of NaN."""
        return torch.full((self.scratch_size(name, _of(like), *arguments),), torch.nan)


def _of(like) -> torch.Tensor:
    return torch.empty(0, dtype=like) if isinstance(like, torch.dtype) else like


#: (source, memory, access) → moved and ideal: sectors of global memory, passes of shared memory.
COUNTED = collections.defaultdict(lambda: [0, 0])


def check_counts(counts) -> None:
    """The shared memory takes 1.1 times the ideal passes at most; loads, 1.25 times the sectors."""
    for row in counts:
        total = COUNTED[Path(row["file"]).name, row["memory"], row["access"]]
        for place, column in enumerate(("moved", "ideal")):
            total[place] += int(row[column])
    for memory, kinds, most in (
        ("shared", ("load", "store", "copy"), 1.1), ("global", ("load", "copy"), 1.25),
    ):  # fmt: skip
        rows = [row for row in counts if row["memory"] == memory and row["access"] in kinds]
        moved, ideal = (sum(int(row[column]) for row in rows) for column in ("moved", "ideal"))
        assert 0 < moved <= most * ideal, counts


def skip_without_compiler():
    """Skip, with the reason, where nothing can be emulated."""
    reason = why_not()
    if reason is not None:
        pytest.skip(reason, allow_module_level=True)
