"""What the launches ask of the device, and how a kernel is started."""

import contextlib
import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from adaconv_kernels import INTERPRETED


def cdiv(a: int, b: int) -> int:
    """Return a / b, rounded up; Triton's own does it, and much slower."""
    return -(-a // b)


def power_of_2(least: int) -> int:
    """Return the least power of two that is no smaller."""
    return 1 << (least - 1).bit_length()


@functools.cache
def _processors(device: torch.device) -> int:
    return torch.cuda.get_device_properties(device).multi_processor_count


def processors(tensor: Tensor) -> int:
    """Return the number of multiprocessors; 1 in Triton's interpreter, which has CPU tensors."""
    return _processors(tensor.device) if tensor.is_cuda else 1


@functools.cache
def _capability(device: torch.device) -> tuple[int, int]:
    return torch.cuda.get_device_capability(device)


def capability(tensor: Tensor) -> tuple[int, int]:
    """Return the compute capability of the tensor's GPU."""
    return _capability(tensor.device)


def guard(tensor: Tensor) -> contextlib.AbstractContextManager[Any]:
    """Return a scope whose launches go to the device of the tensor."""
    return torch.cuda.device(tensor.device) if tensor.is_cuda else contextlib.nullcontext()


def written(result: Tensor, write: Callable[[Tensor], None]) -> Tensor:
    """Let kernels write a result; the interpreter, which cannot round to halves, float32."""
    if not INTERPRETED or result.dtype == torch.float32:
        write(result)
        return result
    wide = torch.empty_like(result, dtype=torch.float32)
    write(wide)
    return result.copy_(wide)


_compiled: dict[tuple, Any] = {}


def launch(kernel: Any, grid: tuple[int, int, int], *args: Any, **constants: Any) -> None:
    """Run a kernel on its arguments, in their order, and its constants.

    What was compiled for arguments alike is kept: Triton's own look-up takes longer than many a
    kernel.
    """
    if INTERPRETED:
        kernel[grid](*args, **constants)
        return
    key = (kernel, torch.cuda.current_device(), *map(_alike, args), *constants.items())
    compiled = _compiled.get(key)
    if compiled is None:
        _compiled[key] = kernel[grid](*args, **constants)
    else:
        compiled[grid](*args, *(constants[name] for name in kernel.arg_names[len(args) :]))


def _alike(argument: Any) -> Any:
    """Return what Triton compiles for: of tensors the type and whether they are aligned."""
    if isinstance(argument, Tensor):
        return argument.dtype, argument.data_ptr() % 16 == 0
    if isinstance(argument, tuple):
        return tuple(map(_alike, argument))
    return argument
