"""Triton kernels of adaconv's operators: the backend of GPUs.

An operator's module has its launches under the operator's stem, the kernels stand beside it. They
are called by :mod:`adaconv.ops`, which checks arguments and registers gradients.
"""

import importlib.metadata
import importlib.util
import os
from collections.abc import Sequence

import torch
from torch import Tensor

#: Stems of the operators that have kernels here.
OPERATORS: frozenset[str] = frozenset(
    name[:-3]
    for name in os.listdir(os.path.dirname(__file__))
    if name.endswith(".py") and not name.startswith("_") and not name.endswith("_kernels.py")
)

#: What a tensor must be for the kernels to compute with it.
DTYPES = (torch.float32, torch.bfloat16, torch.float16)

#: The oldest Triton whose language has all that is used, and the oldest GPU with bfloat16.
TRITON, CAPABILITY = (3, 4), (8, 0)


def _unavailable() -> str | None:
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed"
    version = importlib.metadata.version("triton")
    if tuple(int(part) for part in version.split(".")[:2]) < TRITON:
        return f"needs Triton {'.'.join(map(str, TRITON))} or newer, got {version}"
    return None


#: Why no kernel can run in this process, or None where they can. Triton itself is imported with the
#: first of them.
unavailable: str | None = _unavailable()

#: Whether Triton's interpreter runs the kernels, on CPU tensors; Triton reads it as it is imported.
INTERPRETED: bool = os.environ.get("TRITON_INTERPRET") == "1"


def why_not(stem: str, tensors: Sequence[Tensor]) -> str | None:
    """Return why the operator cannot run on these tensors, or None where it can."""
    if unavailable is not None:
        return unavailable
    if stem not in OPERATORS:
        return f"has no kernel for {stem}"
    for tensor in tensors:
        if tensor.dtype not in DTYPES:
            return f"computes in float32, bfloat16 and float16, got {tensor.dtype}"
        if tensor.device.type != ("cpu" if INTERPRETED else "cuda"):
            return f"runs on GPU tensors, got one on {tensor.device}"
        # torch.compile cannot ask the device; who compiles has a GPU that Triton compiles for.
        if not INTERPRETED and not torch.compiler.is_compiling():
            capability = torch.cuda.get_device_capability(tensor.device)
            if capability < CAPABILITY:
                need, got = (".".join(map(str, pair)) for pair in (CAPABILITY, capability))
                return f"needs a GPU of compute capability {need} or higher, got {got}"
    if not tensors and not INTERPRETED and not torch.cuda.is_available():
        return "no GPU is available"
    return None
