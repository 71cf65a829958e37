"""What the callers of the native module share: how tensors and dtypes are handed to it."""

from typing import Any

import torch
from torch import Tensor

#: dtype → suffix of its native functions.
SUFFIX = {torch.float32: "f32", torch.float64: "f64", torch.bfloat16: "bf16"}


def address(tensor: Tensor | None) -> int | None:
    """Return where the values are, for a contiguous tensor."""
    return None if tensor is None else tensor.data_ptr()


def strided(tensor: Tensor | None) -> tuple[int, tuple[int, ...]] | None:
    """Return where the values are, for a tensor of any strides."""
    return None if tensor is None else (tensor.data_ptr(), tensor.stride())


def sums_of(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype that sums are kept in, and gradients until they are complete."""
    return torch.float32 if dtype == torch.bfloat16 else dtype


def to(dtype: torch.dtype, *tensors: Tensor | None) -> list[Any]:
    """Cast all tensors; None is passed over."""
    return [None if tensor is None else tensor.to(dtype) for tensor in tensors]


def empty_picture(shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Return an uninitialised (N, C, H, W), channels_last where ``like`` is."""
    last = like.is_contiguous(memory_format=torch.channels_last) and not like.is_contiguous()
    return torch.empty(
        shape,
        dtype=like.dtype,
        device=like.device,
        memory_format=torch.channels_last if last else torch.contiguous_format,
    )
