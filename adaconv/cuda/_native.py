"""How tensors and calls are handed to the C functions of csrc/cuda."""

import contextlib
import ctypes
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from adaconv.cuda._fatbin import Code, codes

#: dtype → its number, ``Type`` of csrc/cuda/interface.h.
DTYPES = {torch.float32: 0, torch.float16: 1, torch.bfloat16: 2}

#: Most dimensions of a tensor there.
DIMENSIONS = 8


class _Tensor(ctypes.Structure):
    """``Tensor`` of csrc/cuda/interface.h."""

    _fields_ = [
        ("data", ctypes.c_void_p),
        ("sizes", ctypes.c_int64 * DIMENSIONS),
        ("strides", ctypes.c_int64 * DIMENSIONS),
    ]


def _described(tensor: Tensor | None) -> _Tensor:
    if tensor is None:
        return _Tensor()
    integers = ctypes.c_int64 * DIMENSIONS
    return _Tensor(tensor.data_ptr(), integers(*tensor.shape), integers(*tensor.stride()))


def argument(tensor: Tensor | None) -> Any:
    """Return what stands for a tensor, or for one that is not there."""
    return ctypes.byref(_described(tensor))


def address(tensor: Tensor | None) -> ctypes.c_void_p:
    """Return where the values of a contiguous tensor are."""
    return ctypes.c_void_p(None if tensor is None else tensor.data_ptr())


def arguments(tensors: list[Tensor]) -> Any:
    """Return what stands for an array of tensors."""
    return (_Tensor * len(tensors))(*map(_described, tensors))


class Library:
    """The C functions, in a library that is loaded as the first of them is called.

    Attributes:
        path: where the library is.
        device: the kind of device whose memory it works on.
        missing: why there are no kernels in this installation; None where there are.
    """

    def __init__(self, path: Path, device: str):
        self.path, self.device = path, device
        self.missing: str | None = None
        if not path.exists():
            self.missing = "was not built into this installation, see ADACONV_BUILD=cuda"

    def codes(self) -> list[Code]:
        """Return which GPUs there is code for."""
        return codes(self.path)

    @functools.cached_property
    def functions(self) -> Any:
        """The library, loaded."""
        return ctypes.CDLL(str(self.path))

    @functools.cache  # noqa: B019  (as many as there are devices)
    def why_not(self, device: torch.device) -> str | None:
        """Return what a device, or its driver, lacks for a kernel to start; None where nothing."""
        try:
            self.call("usable", torch.empty(0, device=device))
        except (OSError, RuntimeError) as error:
            return str(error)
        return None

    def processors(self, device: torch.device) -> int:
        """Return the number of multiprocessors; 1 where the kernels run elsewhere."""
        if self.device != "cuda":
            return 1
        return torch.cuda.get_device_properties(device).multi_processor_count

    def scratch_size(self, name: str, like: Tensor, *arguments: Any) -> int:
        """Return how many numbers of float32 ``adaconv_NAME`` needs to compute with."""
        size = getattr(self.functions, f"adaconv_{name}_scratch")
        size.restype = ctypes.c_int64
        return size(DTYPES[like.dtype], *arguments) // 4

    def call(self, name: str, like: Tensor, *arguments: Any) -> None:
        """Call ``adaconv_NAME`` for the dtype of a tensor, on the current stream of its device.

        Raises:
            RuntimeError: a kernel could not be started; with CUDA's message.
        """
        function = getattr(self.functions, f"adaconv_{name}")
        function.restype = ctypes.c_char_p
        with _on(like) as stream:
            message = function(DTYPES[like.dtype], *arguments, ctypes.c_void_p(stream))
        if message is not None:
            raise RuntimeError(f"adaconv_{name}: {message.decode()}")


@contextlib.contextmanager
def _on(tensor: Tensor) -> Iterator[int | None]:
    """Make the tensor's device the current one; its stream, or None of one without streams."""
    if not tensor.is_cuda:
        yield None
        return
    with torch.cuda.device(tensor.device):
        yield torch.cuda.current_stream(tensor.device).cuda_stream
