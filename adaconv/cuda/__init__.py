"""The CUDA backend: allocation around the kernels of csrc/cuda, compiled ahead of time.

They are in a library without torch, which is loaded with the first call, so that a machine without
a driver never needs one.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from adaconv.cuda._native import DTYPES, Library

#: Stems of the operators that have a kernel here: the modules of this package.
OPERATORS: frozenset[str] = frozenset(
    name[:-3]
    for name in os.listdir(os.path.dirname(__file__))
    if name.endswith(".py") and not name.startswith("_")
)

#: The kernels.
library = Library(Path(__file__).parents[1] / "libadaconv_cuda.so", "cuda")


def why_not(stem: str, tensors: Sequence[Tensor]) -> str | None:
    """Return why the operator cannot run on these tensors, or None where it can."""
    if library.missing is not None:
        return library.missing
    if stem not in OPERATORS:
        return f"has no kernel for {stem}"
    for tensor in tensors:
        if tensor.dtype not in DTYPES:
            return f"computes in float32, bfloat16 and float16, got {tensor.dtype}"
        if tensor.device.type != library.device:
            return f"runs on {library.device.upper()} tensors, got one on {tensor.device}"
    if library.device == "cuda" and not tensors and not torch.cuda.is_available():
        return "no GPU is available"
    # torch.compile cannot ask the device; who compiles has one.
    if torch.compiler.is_compiling():
        return None
    return library.why_not(tensors[0].device if tensors else torch.device(library.device))
