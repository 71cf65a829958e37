"""Autocast: the operators are cast as PyTorch's convolutions are."""

import contextlib
from typing import Any

import torch
from torch import Tensor

#: Types of devices that have autocast; some releases of torch.compile cannot ask.
DEVICES = frozenset(
    device
    for device in ("cpu", "cuda", "hpu", "mps", "mtia", "xpu")
    if torch.amp.is_autocast_available(device)
)


def cast(*arguments: Any) -> list[Any]:
    """Cast tensors to autocast's dtype where it is on for the first one's device.

    float64 and whatever is no floating-point tensor stay what they are.
    """
    first = arguments[0]
    device = first.device.type if isinstance(first, Tensor) else "cpu"
    if not is_on(device):
        return list(arguments)
    dtype = torch.get_autocast_dtype(device)
    return [t.to(dtype) if _eligible(t) else t for t in arguments]


def is_on(device: str) -> bool:
    """Whether autocast is on for a type of device."""
    return device in DEVICES and torch.is_autocast_enabled(device)


def off(device: str) -> contextlib.AbstractContextManager:
    """Turn autocast off for a type of device."""
    return torch.autocast(device, enabled=False) if is_on(device) else contextlib.nullcontext()


def _eligible(argument: Any) -> bool:
    if not isinstance(argument, Tensor):
        return False
    return argument.is_floating_point() and argument.dtype != torch.float64
