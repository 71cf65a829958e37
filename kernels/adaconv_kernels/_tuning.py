"""The choice among the few configurations that a kernel has, by the bucket that a shape falls in.

A bucket knows nothing of the batch, so another batch is never tuned anew.

``ADACONV_AUTOTUNE=0``, the default, takes the first configuration of the GPU's list; ``1`` measures
all of them in the first call of a bucket and keeps the fastest, on disk in Triton's cache too. The
lists begin with what is meant for the GPU that they were searched on, and end with what compiles
to code without spills for all: other GPUs read them from behind.
"""

import hashlib
import json
import os
import statistics
from collections.abc import Callable, Hashable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from adaconv_kernels import INTERPRETED, _device

Choice = TypeVar("Choice")
Result = TypeVar("Result")

VARIABLE = "ADACONV_AUTOTUNE"

#: Compute capability of the GPU that the configurations were searched on, an H100.
SEARCHED = (9, 0)

#: Calls that are timed of each configuration, after one that compiles it.
CALLS = 5

#: Configurations of a list, at most: all are compiled and read, and timed one after another.
MOST = 2

_chosen: dict[Hashable, Any] = {}


def tuned(
    kernel: Any,
    bucket: tuple,
    configs: Sequence[Choice],
    run: Callable[[Choice], Result],
    tensor: Tensor,
) -> Result:
    """Run a kernel with the configuration that is chosen for it, see :func:`choose`."""
    return run(choose(kernel, bucket, configs, run, tensor))


def choose(
    kernel: Any,
    bucket: tuple,
    configs: Sequence[Choice],
    run: Callable[[Choice], object],
    tensor: Tensor,
) -> Choice:
    """Return the configuration to run a kernel with.

    Args:
        kernel: Triton's function.
        bucket: what the choice depends on, beside the GPU.
        configs: the configurations, in the order of the GPU that they were searched on.
        run: runs the kernel with one of them, and may do so several times.
        tensor: one of the kernel's arguments.
    """
    setting = os.environ.get(VARIABLE, "0")
    if setting not in ("0", "1"):
        raise ValueError(f"{VARIABLE} must be 0 or 1, got {setting!r}")
    if INTERPRETED:
        return configs[0]
    if _device.capability(tensor) != SEARCHED:
        configs = configs[::-1]
    if setting == "0" or len(configs) == 1:
        return configs[0]
    key = kernel, bucket, tensor.device
    if key not in _chosen:
        if torch.cuda.is_current_stream_capturing():
            return configs[0]  # nothing can be timed inside a graph
        _chosen[key] = _measured(kernel, bucket, configs, run, tensor)
    return _chosen[key]


def _measured(
    kernel: Any,
    bucket: tuple,
    configs: Sequence[Choice],
    run: Callable[[Choice], object],
    tensor: Tensor,
) -> Choice:
    """Return the fastest configuration, from Triton's cache or by timing each."""
    import triton
    from triton.runtime.cache import get_cache_manager

    gpu = torch.cuda.get_device_name(tensor.device)
    identity = [triton.__version__, gpu, kernel.cache_key, bucket, configs]
    cache = get_cache_manager(hashlib.sha256(repr(identity).encode()).hexdigest())
    name = f"{kernel.__name__}.adaconv.json"
    path = cache.get_file(name)
    if path is None:
        times = [_time(run, config) for config in configs]
        cache.put(json.dumps(times), name, binary=False)
    else:
        with open(path, encoding="utf-8") as file:
            times = json.load(file)
    return configs[times.index(min(times))]


def _time(run: Callable[[Choice], object], config: Choice) -> float:
    """Return the milliseconds of a call; without end where the GPU has not what it asks for."""
    from triton.runtime.errors import OutOfResources

    try:
        run(config)
    except OutOfResources:
        return float("inf")
    times = []
    for _ in range(CALLS):
        start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        run(config)
        stop.record()
        stop.synchronize()
        times.append(start.elapsed_time(stop))
    return statistics.median(times)
