"""What a run costs: a trace of a few of its steps, and its memory."""

import contextlib
import resource
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch.profiler import profile, schedule

from adaconv.train.files import replacing

#: Steps that are left out, that warm the profiler up, and that are traced.
WAIT, WARM_UP, TRACED = 1, 1, 3


@contextlib.contextmanager
def profiling(path: Path | None) -> Iterator[Callable[[], None]]:
    """Trace a few steps in the ``with`` block.

    Yields:
        What is to be called after each step.

    Args:
        path: where the trace goes, in the format of Chrome's chrome://tracing and of Perfetto;
            ``None`` traces nothing.
    """
    if path is None:
        yield lambda: None
        return

    def write(profiler: profile) -> None:
        with replacing(path) as file:
            profiler.export_chrome_trace(file.name)

    steps = schedule(wait=WAIT, warmup=WARM_UP, active=TRACED, repeat=1)
    with profile(schedule=steps, on_trace_ready=write) as profiler:
        yield profiler.step


def peak_memory(device: torch.device) -> float:
    """Return the most memory in use so far, in MiB: the device's, by tensors; or the process's."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
