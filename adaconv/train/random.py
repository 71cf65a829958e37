"""The state of the random number generators, for resumption."""

import random
from typing import Any

import numpy as np
import torch


def random_state(device: torch.device) -> dict[str, Any]:
    """The states of PyTorch's generators, of the CPU and the device, of NumPy's, and of Python's.

    Tensors and plain values.
    """
    twister = np.random.get_state(legacy=False)
    key = twister["state"]["key"].tolist()
    state: dict[str, Any] = {
        "cpu": torch.get_rng_state(),
        "numpy": {**twister, "state": {**twister["state"], "key": key}},
        "python": random.getstate(),
    }
    if device.type != "cpu":
        state[device.type] = torch.get_device_module(device).get_rng_state()
    return state


def set_random_state(device: torch.device, state: dict[str, Any]) -> None:
    """Go back to what :func:`random_state` returned, as far as it has this generator."""
    torch.set_rng_state(state["cpu"])
    if device.type != "cpu" and device.type in state:
        torch.get_device_module(device).set_rng_state(state[device.type])
    if "numpy" in state:
        np.random.set_state(state["numpy"])
    if "python" in state:
        version, words, spare = state["python"]
        random.setstate((version, tuple(words), spare))
