"""Kernels compiled for GPUs that are not there, by calling their operator.

Triton compiles a kernel as it is launched. Here its driver is one that names the GPU and can do
nothing else, and no launch is followed by a run: the operator, forward and backward, goes through
its own code, on CPU tensors, and what it returns is never looked at.
"""

import contextlib
import inspect
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from unittest import mock

import torch

import adaconv
from adaconv.ops import _dispatch
from adaconv_bench.registry import Case, draw
from adaconv_bench.static.targets import TARGETS

#: The GPU that configurations were searched on; the others read their lists from behind.
SEARCHED = "sm_90"

#: Samples of a call: the kernels are the same at any other even number.
BATCH = 2


@dataclass(frozen=True)
class Launch:
    """A kernel as an operator launched it.

    Attributes:
        kernel: Triton's function.
        grid: programs in each direction.
        arguments: what it was called with, by name, constants included.
        options: of the compiler, such as ``num_warps``.
        compiled: what Triton made of it; ``None`` where nothing was compiled.
    """

    kernel: Any
    grid: tuple[int, ...]
    arguments: Mapping[str, Any]
    options: Mapping[str, Any]
    compiled: Any = None

    @property
    def name(self) -> str:
        """The function's name."""
        return self.kernel.fn.__name__

    @property
    def promise(self) -> Any:
        """What the kernel's module promises of its machine code."""
        from adaconv_kernels._promises import Promise

        promises = getattr(sys.modules[self.kernel.fn.__module__], "PROMISES", {})
        return promises.get(self.name, Promise())

    @property
    def tile(self) -> str:
        """The sizes of its blocks, for instance ``"M128 J1 O64 D128"``."""
        sizes = {n: v for n, v in self.arguments.items() if n.startswith("BLOCK")}
        return " ".join(f"{n.removeprefix('BLOCK').removeprefix('_')}{v}" for n, v in sizes.items())


class _Driver:
    """What Triton asks of a driver in order to compile."""

    def __init__(self, target: str):
        self.target = target

    def get_current_target(self) -> Any:
        from triton.backends.compiler import GPUTarget

        target = TARGETS[self.target]
        return GPUTarget(target.backend, target.arch, target.warp)

    def get_current_device(self) -> int:
        return list(TARGETS).index(self.target)  # Triton keeps what it compiled by this number

    def get_current_stream(self, device: int) -> int:
        return 0


class _Finished:
    """A compiled kernel that does nothing when it is launched again."""

    def __getitem__(self, grid: tuple[int, ...]) -> Any:
        return lambda *arguments: None


@contextlib.contextmanager
def recording(
    target: str, *, compiles: bool = True, processors: int = 1, turn: int = 0
) -> Iterator[list[Launch]]:
    """Record what is launched inside the ``with`` block, instead of running it.

    Where nothing is compiled, every launch is recorded; otherwise the first of those alike.

    Args:
        target: one of :data:`~adaconv_bench.static.targets.TARGETS`.
        compiles: whether kernels are compiled.
        processors: how many multiprocessors the operator is told that there are.
        turn: place of the configuration that is taken from the GPU's list, the last at most.
    """
    import adaconv_kernels
    from triton.runtime.driver import driver
    from triton.runtime.jit import JITFunction

    if adaconv_kernels.INTERPRETED:
        raise RuntimeError("kernels are compiled in a process without TRITON_INTERPRET")
    from adaconv_kernels import _device, _tuning

    launches: list[Launch] = []
    run = JITFunction.run

    def record(kernel: Any, *arguments: Any, grid: Any, warmup: bool, **constants: Any) -> Any:
        options = {n: v for n, v in constants.items() if n not in kernel.arg_names}
        bound = inspect.signature(kernel.fn).bind(
            *arguments, **{n: v for n, v in constants.items() if n in kernel.arg_names}
        )
        compiled = None
        if compiles:
            try:
                compiled = run(kernel, *arguments, grid=grid, warmup=True, **constants)
            except Exception as error:
                raise RuntimeError(f"{kernel.fn.__name__}, {target}: {error}") from error
        launches.append(Launch(kernel, grid, bound.arguments, options, compiled))
        return _Finished()

    def chosen(kernel: Any, bucket: Any, configs: Sequence[Any], run: Any, tensor: Any) -> Any:
        ordered = configs if target == SEARCHED else configs[::-1]
        return ordered[min(turn, len(ordered) - 1)]

    fake = _Driver(target)
    kept = _Forgetful() if not compiles else {}
    with (
        mock.patch.object(JITFunction, "run", record),
        mock.patch.object(_device, "_compiled", kept),
        mock.patch.object(_device, "processors", return_value=processors),
        mock.patch.object(_tuning, "choose", chosen),
        mock.patch.object(torch.cuda, "current_device", fake.get_current_device),
        mock.patch.dict(_dispatch.BACKENDS, {"triton": lambda stem, tensors: None}),
        mock.patch.object(driver, "_active", fake),
        adaconv.backend("triton"),
    ):
        yield launches


class _Forgetful(dict):
    """Keeps nothing, so that no launch goes unseen."""

    def __setitem__(self, key: Any, value: Any) -> None:
        pass


def compiled(case: Case, dtype: torch.dtype, targets: Sequence[str]) -> dict[str, list[Launch]]:
    """Return the kernels that a case launches, forward and backward, compiled for each GPU.

    They are those of the GPU's first configurations, and of all on the GPU that was searched.
    """
    from adaconv_kernels import _tuning

    problem = draw(case, BATCH, dtype, dtype)
    found = {}
    for target in targets:
        kernels: dict[str, Launch] = {}
        for turn in range(_tuning.MOST if target == SEARCHED else 1):
            with recording(target, turn=turn) as launches:
                problem.results()
            for one in launches:
                kernels.setdefault(one.compiled.hash, one)
        found[target] = list(kernels.values())
    return found
