"""The CPU backend: allocation around the kernels of the native module ``adaconv._C``.

``_C`` is compiled without torch and shares torch's OpenMP pool: its libgomp is found under the name
that torch's own copy already holds in the process, so torch must be imported first.
"""

import importlib
import os
import platform
from pathlib import Path
from typing import Any

import torch  # its libgomp must be loaded before _C asks for one

#: Stems of the operators that have a kernel here: the modules of this package.
OPERATORS: frozenset[str] = frozenset(
    name[:-3]
    for name in os.listdir(os.path.dirname(__file__))
    if name.endswith(".py") and not name.startswith("_")
)

#: Why the backend cannot run in this process, or None where it can.
unavailable: str | None = None

_C: Any = None
try:
    _C = importlib.import_module("adaconv._C")
except ImportError as error:
    unavailable = f"the native module adaconv._C cannot be imported ({error})"


def processor() -> str:
    """The processor's model as Linux names it; elsewhere what Python knows."""
    described = Path("/proc/cpuinfo")
    if described.exists():
        for line in described.read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def variant() -> str:
    """Name of the instruction set in use; the environment variable ``ADACONV_CPU`` forces one."""
    return _C.variant()


def multiply(dtype: torch.dtype, operations: int) -> int:
    """Add and multiply in registers as fast as the instruction set in use can, on all threads.

    To be timed: it is the bound of every kernel here. bfloat16 is multiplied in pairs where the
    instruction set can do so; what is computed by widening has the rate of float32.

    Args:
        dtype: dtype of the factors.
        operations: how many to make at least; one multiplication and one addition count two.

    Returns:
        How many were made.
    """
    native = {torch.float64: _C.multiply_f64, torch.bfloat16: _C.multiply_bf16}
    return native.get(dtype, _C.multiply_f32)(operations)


def variants() -> list[str]:
    """Names of the instruction sets of this build that this CPU has, the best first."""
    return _C.variants()


def built_variants() -> list[str]:
    """Names of all instruction sets of this build, the best first."""
    return _C.variants(all=True)
