"""The GPU that is measured, or for a dry run the CPU; and how a call is timed."""

import time
from collections.abc import Callable
from typing import Any

import torch

from adaconv_bench.operators.adaptive_conv.cases import Layer
from adaconv_bench.operators.adaptive_conv.presets import PRESETS

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class Device:
    """A GPU, or for a dry run the CPU with Triton's interpreter on small shapes."""

    def __init__(self, name: str):
        self.name, self.real = name, name == "cuda"
        self.batch = 64 if self.real else 1

    @property
    def title(self) -> str:
        """The GPU's name."""
        return torch.cuda.get_device_name() if self.real else "dry-run"

    def layers(self) -> list[Layer]:
        """The layers of AdaGAN, or of one a sixteenth as wide."""
        cases = [case for case in PRESETS["adagan-cifar10"].cases if isinstance(case, Layer)]
        if self.real:
            return cases
        return [Layer("L1", 8, 4, 4), Layer("L4", 2, 3, 6)]

    def time(self, call: Callable[[], Any]) -> list[float]:
        """Return the 20 %, 50 % and 80 % quantiles of a call's milliseconds."""
        if self.real:
            from triton.testing import do_bench

            return do_bench(call, warmup=20, rep=150, quantiles=[0.2, 0.5, 0.8])
        start = time.perf_counter()
        call()
        return [1e3 * (time.perf_counter() - start)] * 3

    def peak(self, call: Callable[[], Any]) -> float:
        """Return by how many MiB a call raises the memory in use at most."""
        if not self.real:
            return 0.0
        call()
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        return (torch.cuda.max_memory_allocated() - before) / 2**20

    def rates(self) -> dict[str, float]:
        """Return TFLOP/s of a matrix product of each dtype, and GB/s of a copy."""
        size = 8192 if self.real else 64
        found = {}
        for name, dtype in {**DTYPES, "float16": torch.float16}.items():
            a = torch.randn(size, size, device=self.name).to(dtype)
            found[name] = 2e-9 * size**3 / self.time(lambda a=a: a @ a)[1]
        a, b = torch.randn(2, size, size, device=self.name)
        found["copy"] = 2e-6 * a.nbytes / self.time(lambda: b.copy_(a))[1]
        return found


def measure(step: Callable[[], tuple[Callable, Callable]], device: Device) -> dict[str, Any]:
    """Return times and memory of a forward pass, and of it with its backward pass."""
    forward, both = step()
    return {
        "fwd_ms": device.time(forward),
        "fwd+bwd_ms": device.time(both),
        "MiB": device.peak(both),
    }
