"""``adaconv info``."""

import platform
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

import adaconv
from adaconv import cpu


def info() -> None:
    """Show the versions, the processor, and which backends can run here and why others cannot."""
    console = Console(soft_wrap=True)
    console.print(_facts())
    console.print(_backends())


def _facts() -> Table:
    table = Table.grid(padding=(0, 2))
    rows = {
        "adaconv": adaconv.__version__,
        "Python": platform.python_version(),
        "PyTorch": torch.__version__,
        "system": platform.platform(),
        "processor": _processor(),
        "kernels": "none" if cpu.unavailable else cpu.variant(),
        "threads": str(torch.get_num_threads()),
        "GPU": _gpu(),
    }
    for name, value in rows.items():
        table.add_row(name, value)
    return table


def _backends() -> Table:
    table = Table(
        "backend", "can run", "why not", title="adaptive convolution", title_justify="left"
    )
    for name, reason in adaconv.backends().items():
        table.add_row(name, "yes" if reason is None else "no", reason or "")
    return table


def _processor() -> str:
    """The processor's model as Linux names it; elsewhere what Python knows."""
    described = Path("/proc/cpuinfo")
    if described.exists():
        for line in described.read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def _gpu() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
