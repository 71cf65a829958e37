"""Measuring in a process of its own: with a clean memory, or with another allocator."""

import contextlib
import ctypes
import gc
import multiprocessing
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import ParamSpec, TypeVar

import torch

from adaconv_bench.registry import Case, Provider, draw

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

PROC = Path("/proc/self")


def in_fresh_process(
    function: Callable[Parameters, Result],
    *arguments: Parameters.args,
    **options: Parameters.kwargs,
) -> Result:
    """Call ``function`` in a new interpreter; its result is returned, its exception raised."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        return pool.submit(function, *arguments, **options).result()


@contextlib.contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for the processes that are started inside the ``with`` block."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def peak_memory(
    case: Case,
    provider: Provider,
    batch: int,
    threads: int,
    dtype: torch.dtype = torch.float32,
) -> float | None:
    """Return the peak of one forward and backward pass above inputs and parameters, in MiB.

    It is the largest resident size during the step less the resident size before it, so it
    contains the result and the gradients. A step with one sample goes before, which loads the
    libraries' code. To be called in a fresh process. ``None`` where there is no ``/proc``, as
    outside of Linux.
    """
    torch.set_num_threads(threads)
    problem = draw(case, batch, dtype, dtype)
    with provider.active():
        draw(case, 1, dtype, dtype).results()
        return peak_of(problem.results)


def peak_of(work: Callable[[], object]) -> float | None:
    """Return by how much the resident size rises at most during ``work``, in MiB.

    ``None`` where there is no ``/proc``; the work is done all the same.
    """
    if not (PROC / "clear_refs").exists():
        work()
        return None
    _release_freed_memory()
    (PROC / "clear_refs").write_text("5")  # restarts the peak at the current size
    before = _resident("VmRSS")
    work()
    return (_resident("VmHWM") - before) / 1024


def _release_freed_memory() -> None:
    gc.collect()
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError, OSError):  # another C library than glibc
            ctypes.CDLL("libc.so.6").malloc_trim(0)


def _resident(field: str) -> int:
    """Return a field of this process's status, in KiB."""
    match = re.search(rf"^{field}:\s+(\d+) kB$", (PROC / "status").read_text(), re.MULTILINE)
    if match is None:
        raise OSError(f"{PROC / 'status'} has no field {field}")
    return int(match[1])
