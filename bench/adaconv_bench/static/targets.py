"""The GPUs that kernels are compiled for, and how many of a kernel's warps they hold at once."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """A GPU; sizes are those of one multiprocessor (AMD: compute unit).

    Attributes:
        backend: ``"cuda"`` or ``"hip"``, as Triton calls it.
        arch: its number or name there.
        warp: threads of a warp.
        warps: warps that it holds at most.
        blocks: blocks that it holds at most.
        registers: registers of 32 bits, of all threads.
        granule: a warp's registers are a multiple of this number.
        shared: bytes of shared memory.
        block_shared: bytes that one block may ask for.
        shared_granule: a block's bytes are a multiple of this number.
        reserved: bytes that each block takes beside what it asks for.
    """

    backend: str
    arch: int | str
    warp: int
    warps: int
    blocks: int
    registers: int
    granule: int
    shared: int
    block_shared: int
    shared_granule: int
    reserved: int

    #: Parts that warps and registers are dealt to in equal shares.
    PARTS = 4

    def occupancy(self, warps: int, registers: int, shared: int) -> float:
        """Return resident warps over the most that there can be, blocks·warps / the limit.

        A multiprocessor holds as many blocks as its warps, registers and shared memory allow, each
        rounded to its granule. 0 says that a block cannot start.

        Source: NVIDIA's occupancy calculator (CUDA C++ Programming Guide, "Compute Capabilities",
        technical specifications); for AMD the same with the sizes of "AMD Instinct MI300
        Instruction Set Architecture", section 3.6: 512 vector registers a lane.

        Args:
            warps: warps of a block.
            registers: registers of a thread.
            shared: bytes of shared memory of a block.

        Example:
            >>> TARGETS["sm_90"].occupancy(warps=4, registers=255, shared=0)
            0.125
        """
        a_warp = _up(max(registers, 1) * self.warp, self.granule)
        by_registers = self.registers // self.PARTS // a_warp * self.PARTS // warps
        by_shared = self.shared // max(_up(shared + self.reserved, self.shared_granule), 1)
        return min(self.blocks, self.warps // warps, by_registers, by_shared) * warps / self.warps


def _up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple


def _nvidia(arch: int, shared: int) -> Target:
    """Return a GPU with so many KiB of shared memory, 1 of which each block pays for itself."""
    return Target(
        "cuda", arch, 32, warps=64, blocks=32, registers=1 << 16, granule=256,
        shared=shared << 10, block_shared=(shared - 1) << 10, shared_granule=128, reserved=1 << 10,
    )  # fmt: skip


TARGETS = {
    "sm_80": _nvidia(80, 164),
    "sm_90": _nvidia(90, 228),
    "sm_100": _nvidia(100, 228),
    "gfx942": Target(
        "hip", "gfx942", 64, warps=32, blocks=32, registers=4 * 512 * 64, granule=8 * 64,
        shared=64 << 10, block_shared=64 << 10, shared_granule=512, reserved=0,
    ),
}  # fmt: skip
