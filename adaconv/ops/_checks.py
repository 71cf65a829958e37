"""Checks of arguments that the operators share: what was got, what was expected."""

from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor

FLOATING = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def pair(name: str, value: int | Sequence[int], minimum: int) -> tuple[int, int]:
    """Return ``value`` as (vertical, horizontal); both at least ``minimum``."""
    values = tuple(value) if isinstance(value, Sequence) else (value, value)
    if len(values) != 2 or not all(isinstance(v, int) for v in values):
        raise TypeError(f"{name} must be an integer or a pair of integers, got {value!r}")
    if min(values) < minimum:
        raise ValueError(f"{name} must be at least {minimum}, got {value!r}")
    return values[0], values[1]


def pads(
    padding: int | Sequence[int] | str,
    kernel_size: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the pads (top, left) and (bottom, right) that PyTorch's convolutions would apply.

    "same" with an odd total pads the far side by one pixel more.
    """
    if not isinstance(padding, str):
        both = pair("padding", padding, 0)
        return both, both
    if padding == "valid":
        return (0, 0), (0, 0)
    if padding != "same":
        raise ValueError(f'padding must be a number, a pair, "valid" or "same", got {padding!r}')
    if stride != (1, 1):
        raise ValueError(f'padding="same" needs stride 1, got {stride}')
    total = [dilation[i] * (kernel_size[i] - 1) for i in range(2)]
    near = (total[0] // 2, total[1] // 2)
    return near, (total[0] - near[0], total[1] - near[1])


def tensors(
    expected_ranks: Mapping[str, int],
    given: Mapping[str, Tensor | None],
    required: Collection[str] = (),
) -> None:
    """Check kind, rank, dtype and device of the named tensors; None only where not required."""
    first: tuple[str, Tensor] | None = None
    for name, tensor in given.items():
        if tensor is None and name not in required:
            continue
        if not isinstance(tensor, Tensor):
            raise TypeError(f"{name} must be a tensor, got {type(tensor).__name__}")
        if tensor.dim() != expected_ranks[name]:
            raise ValueError(
                f"{name} must have {expected_ranks[name]} dimensions, "
                f"got shape {tuple(tensor.shape)}"
            )
        if tensor.dtype not in FLOATING:
            raise TypeError(
                f"{name} must be float32, float64, bfloat16 or float16, got {tensor.dtype}"
            )
        if first is None:
            first = (name, tensor)
        elif tensor.dtype != first[1].dtype:
            raise TypeError(
                f"{name} must have the dtype of {first[0]}, {first[1].dtype}, got {tensor.dtype}"
            )
        elif tensor.device != first[1].device:
            raise ValueError(
                f"{name} must be on the device of {first[0]}, {first[1].device}, "
                f"got {tensor.device}"
            )


def shape(name: str, tensor: Tensor | None, expected: tuple[int, ...], why: str) -> None:
    """Check that ``tensor``, unless it is None, has exactly the expected shape."""
    if tensor is not None and tuple(tensor.shape) != expected:
        raise ValueError(f"{name} must have shape {expected} ({why}), got {tuple(tensor.shape)}")


def factor(name: str, value: int) -> None:
    """Check that ``value`` is an integer of at least 1."""
    if not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} must be an integer of at least 1, got {value!r}")


def choice(name: str, value: str, choices: Collection[str]) -> None:
    """Check that ``value`` is one of ``choices``."""
    if value not in choices:
        expected = " or ".join(f'"{choice}"' for choice in choices)
        raise ValueError(f"{name} must be {expected}, got {value!r}")


def output_size(
    padded: Sequence[int],
    kernel_size: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
) -> tuple[int, int]:
    """Return the (height, width) that a convolution makes of a picture that has its pads."""
    extent = [dilation[i] * (kernel_size[i] - 1) + 1 for i in range(2)]
    if padded[0] < extent[0] or padded[1] < extent[1]:
        raise ValueError(
            f"the kernel must fit into the padded input: it spans {extent[0]}x{extent[1]} pixels, "
            f"got a padded input of {padded[0]}x{padded[1]}"
        )
    return (
        (padded[0] - extent[0]) // stride[0] + 1,
        (padded[1] - extent[1]) // stride[1] + 1,
    )
