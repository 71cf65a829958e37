"""What a run, or a command, computes with."""

import platform

import torch

import adaconv
from adaconv import cpu


def machine() -> dict[str, str]:
    """Return the versions, the processor, the CPU kernels' instruction set, threads and GPU."""
    return {
        "adaconv": adaconv.__version__,
        "Python": platform.python_version(),
        "PyTorch": torch.__version__,
        "system": platform.platform(),
        "processor": cpu.processor(),
        "kernels": "none" if cpu.unavailable else cpu.variant(),
        "threads": str(torch.get_num_threads()),
        "GPU": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
    }
