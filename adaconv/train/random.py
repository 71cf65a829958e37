"""The state of PyTorch's random number generators, for resumption."""

import torch


def random_state(device: torch.device) -> dict[str, torch.Tensor]:
    """The states of the CPU's generator and the device's."""
    state = {"cpu": torch.get_rng_state()}
    if device.type != "cpu":
        state[device.type] = torch.get_device_module(device).get_rng_state()
    return state


def set_random_state(device: torch.device, state: dict[str, torch.Tensor]) -> None:
    """Go back to what :func:`random_state` returned, as far as it has this kind of device."""
    torch.set_rng_state(state["cpu"])
    if device.type != "cpu" and device.type in state:
        torch.get_device_module(device).set_rng_state(state[device.type])
