"""What kernels promise of their machine code; ``adaconv bench static`` holds them to it."""

from typing import NamedTuple


class Promise(NamedTuple):
    """The machine code of a kernel, in every dtype and on every GPU.

    ``PROMISES`` of a kernel's module has one for each that promises something else than this.

    Attributes:
        products: matrix products in the source, at least; all are on the tensor cores.
        occupancy: of the warps that a multiprocessor can hold, the part that fits at once.
    """

    products: int = 0
    occupancy: float = 0.5
