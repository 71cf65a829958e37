"""What GPUs can do at most, as their makers publish it.

Dense rates, without sparsity, with sums in float32, of the boards with the highest clocks:

- h100: NVIDIA H100 SXM5 80 GB, "NVIDIA H100 Tensor Core GPU Architecture", version 1.04, table 3;
  earlier versions have preliminary clocks, with 60 TFLOP/s of float32.
- a100: NVIDIA A100 SXM4 80 GB, "NVIDIA A100 Tensor Core GPU" datasheet; multiprocessors from
  "NVIDIA A100 Tensor Core GPU Architecture".
- rtx4090: NVIDIA GeForce RTX 4090, "NVIDIA Ada GPU Architecture", version 2.02, table 2.
- mi300x: AMD Instinct MI300X data sheet; multiprocessors are its compute units.

The rates of products are multiprocessors · operations of a cycle · clock: 4096 at 1.83 GHz (h100),
2048 at 1.41 (a100) and at 2.1 (mi300x), 512 at 2.52 (rtx4090).
"""

from dataclasses import dataclass

import torch

#: float32 as sums of two numbers of float16: products that stand for one.
SPLIT = 3


@dataclass(frozen=True)
class Device:
    """A GPU's rates.

    Attributes:
        target: the GPU that its kernels are compiled for, of those in ``adaconv_bench.static``.
        half: TFLOP/s of products in bfloat16 and float16 on the tensor cores.
        single: TFLOP/s of float32 beside them.
        memory: GB/s of its memory.
        processors: multiprocessors.
    """

    target: str
    half: float
    single: float
    memory: float
    processors: int

    def least(self, dtype: torch.dtype) -> float:
        """Return the highest rate of products at the accuracy of a dtype, in TFLOP/s."""
        return max(self.half / SPLIT, self.single) if dtype == torch.float32 else self.half

    def eager(self, dtype: torch.dtype) -> float:
        """Return PyTorch's, which does not lower the precision of float32 unasked."""
        return self.single if dtype == torch.float32 else self.half


DEVICES = {
    "h100": Device("sm_90", half=989.4, single=66.9, memory=3352, processors=132),
    "a100": Device("sm_80", half=312, single=19.5, memory=2039, processors=108),
    "rtx4090": Device("sm_80", half=165.2, single=82.6, memory=1008, processors=128),
    "mi300x": Device("gfx942", half=1307.4, single=163.4, memory=5300, processors=304),
}
