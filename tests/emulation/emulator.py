"""Compiles the CUDA sources for the host, see ``csrc/emulation/device.h``, and calls them."""

import concurrent.futures
import csv
import ctypes
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]
RUNTIME = sorted((ROOT / "csrc/emulation").glob("*.cpp"))
COMPILER = os.environ.get("CXX", "g++")
FLAGS = [
    "-std=c++17", "-O1", "-g1", "-fPIC", "-fvisibility=hidden", "-fno-strict-aliasing",
    "-fno-omit-frame-pointer", "-pthread", "-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas",
]  # fmt: skip
SANITIZERS = os.environ.get("ADACONV_SANITIZE", "")  # of the kernels, not of what tests them
DTYPES = {torch.float32: 0, torch.float16: 1, torch.bfloat16: 2}


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


class _Tensor(ctypes.Structure):
    """``Tensor`` of csrc/cuda/interface.h."""

    _fields_ = [
        ("data", ctypes.c_void_p), ("sizes", ctypes.c_int64 * 8), ("strides", ctypes.c_int64 * 8),
    ]  # fmt: skip


def argument(value):
    """Return what stands for a tensor, or None, or a number that may be missing."""
    if isinstance(value, torch.Tensor):
        sizes, strides = (ctypes.c_int64 * 8)(*value.shape), (ctypes.c_int64 * 8)(*value.stride())
        return ctypes.byref(_Tensor(value.data_ptr(), sizes, strides))
    return ctypes.byref(ctypes.c_int64(value))


MISSING = ctypes.byref(_Tensor())


class Library:
    """C functions of csrc/cuda."""

    def __init__(self, path: Path):
        self._functions = ctypes.CDLL(str(path))
        self._functions.adaconv_emulation_counts.restype = ctypes.c_char_p

    def counted(self, run) -> list[dict[str, str]]:
        """Run a function and return what memory had to do, a row for each place of a kernel."""
        self._functions.adaconv_emulation_count(1)
        try:
            run()
            return list(
                csv.DictReader(self._functions.adaconv_emulation_counts().decode().splitlines())
            )
        finally:
            self._functions.adaconv_emulation_count(0)

    def scratch(self, name: str, dtype: torch.dtype, *arguments) -> torch.Tensor:
        """Return as much memory as a function asks for, of NaN."""
        size = getattr(self._functions, f"adaconv_{name}_scratch")
        size.restype = ctypes.c_int64
        return torch.full((size(DTYPES[dtype], *arguments) // 4,), torch.nan)

    def call(self, name: str, dtype: torch.dtype, *arguments) -> None:
        """Call a function on its default stream; raise RuntimeError with its message."""
        function = getattr(self._functions, f"adaconv_{name}")
        function.restype = ctypes.c_char_p
        message = function(DTYPES[dtype], *arguments, None)
        if message is not None:
            raise RuntimeError(message.decode())


def check_counts(counts) -> None:
    """The shared memory takes 1.1 times the ideal passes at most; loads, 1.25 times the sectors."""
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
