"""What the Triton kernels compute and ask the memory for, counted from how they are cut.

Operations are those of whole tiles, as the tensor cores make them; bytes are those under the masks,
taps on the padding counted as if they were read.
"""

import math
from dataclasses import dataclass

from adaconv_kernels._signs import words_a_pixel

from adaconv_bench.roofline.traffic import products
from adaconv_bench.static.compile import Launch

#: Bytes of a sum, and of a word of sign bits.
SUM = WORD = 4

#: Columns of the product that adds up the gradient of q.
ONES = 16


@dataclass(frozen=True)
class _Cut:
    """The numbers that the three kernels share; ``d``, ``P``, ``x``, ``q``, ``gy`` are bytes."""

    launch: Launch

    def __getattr__(self, name: str):
        return self.launch.arguments[name]

    def tensor(self, name: str) -> int:
        """Return the bytes of one value, of all its terms."""
        tensor = self.launch.arguments[name]
        if tensor is None:
            return 0
        return tensor.element_size() * (self.TERMS if name in ("d", "P") else 1)

    @property
    def groups(self) -> int:
        return self.outputs // self.group_outputs

    @property
    def weights(self) -> int:
        return self.outputs * self.J

    @property
    def depth(self) -> int:
        """D, in whole blocks."""
        return math.ceil(self.D / self.BLOCK_D) * self.BLOCK_D

    @property
    def tile(self) -> int:
        """Weights that are regressed in a step."""
        return self.BLOCK_M * self.BLOCK_J * self.BLOCK_O

    @property
    def words(self) -> int:
        """Words of sign bits that a pixel has."""
        return words_a_pixel(self.groups, self.group_outputs, self.J)

    @property
    def steps(self) -> int:
        return math.ceil(self.J / self.BLOCK_J)

    @property
    def output_tiles(self) -> int:
        return self.groups * math.ceil(self.group_outputs / self.BLOCK_O)


def forward(launch: Launch) -> tuple[float, float]:
    """Return operations and bytes of y = Σ act(d·P + q)·x and of the sign bits."""
    cut = _Cut(launch)
    tiles, output_tiles, splits = launch.grid
    operations = 2 * tiles * output_tiles * cut.steps * cut.tile * cut.depth
    moved = (
        output_tiles
        * cut.pixels
        * cut.D
        * cut.tensor("d")
        * (splits if cut.ONE_BLOCK else cut.steps)
    )
    moved += tiles * cut.weights * (cut.D * cut.tensor("P") + cut.tensor("q"))
    if cut.signs is not None:
        moved += cut.pixels * cut.words * WORD
    if cut.y is not None:
        moved += output_tiles * cut.pixels * cut.J * cut.tensor("x")
        moved += splits * cut.pixels * cut.outputs * SUM
    return products(operations, cut.TERMS), moved


def inputs(launch: Launch) -> tuple[float, float]:
    """Return operations and bytes of the gradients of x and d."""
    cut = _Cut(launch)
    tiles, groups, _ = launch.grid
    blocks, splits = cut.D_BLOCKS, launch.grid[2] // cut.D_BLOCKS
    weights = cut.output_tiles * cut.BLOCK_O * cut.J
    operations = 2 * tiles * cut.BLOCK_M * weights * cut.depth
    moved = tiles * cut.weights * (cut.D * cut.tensor("P") + cut.tensor("q"))
    moved += splits * groups * cut.pixels * cut.D * cut.tensor("d")
    gy = blocks * cut.pixels * cut.outputs * cut.tensor("gy")
    moved += gy * (splits if cut.ONE_TILE else cut.J)
    words = math.ceil(cut.group_outputs / 32)  # of a tap
    moved += groups * blocks * cut.pixels * cut.J * (cut.tensor("x") + words * WORD)
    moved += groups * cut.pixels * (blocks * cut.J + splits * cut.D) * SUM
    return products(operations, cut.TERMS), moved


def weights(launch: Launch) -> tuple[float, float]:
    """Return operations and bytes of the gradients of P and q."""
    cut = _Cut(launch)
    taps, _, splits = launch.grid
    blocks, runs = cut.D_BLOCKS, math.ceil(cut.pixels / cut.BLOCK_M)
    depth = cut.depth + (blocks * ONES if cut.HAS_Q else 0)
    operations = 2 * runs * cut.output_tiles * taps * cut.tile * depth
    moved = taps * cut.output_tiles * cut.pixels * cut.D * cut.tensor("d")
    moved += blocks * cut.output_tiles * cut.pixels * cut.J * cut.tensor("x")
    moved += blocks * taps * cut.pixels * cut.outputs * cut.tensor("gy")
    moved += blocks * cut.pixels * cut.words * WORD
    moved += splits * cut.weights * (cut.D + (cut.q is not None)) * SUM
    return products(operations, cut.TERMS), moved


def gather(launch: Launch) -> tuple[float, float]:
    """Return bytes of the sums over the taps that read a pixel: each value of gx by output."""
    gx, columns = (launch.arguments[name] for name in ("gx", "columns"))
    return 0.0, (gx.numel() + columns.numel()) * SUM


def split(launch: Launch) -> tuple[float, float]:
    """Return bytes of float32 written as numbers of float16."""
    count, terms = (launch.arguments[name] for name in ("count", "TERMS"))
    return 0.0, count * (4 + 2 * terms)


def scale(launch: Launch) -> tuple[float, float]:
    """Return bytes of a few scales."""
    return 0.0, sum(launch.arguments[name].nbytes for name in ("largest", "scales"))


TILINGS = {
    "forward_kernel": forward,
    "inputs_kernel": inputs,
    "weights_kernel": weights,
    "gather_kernel": gather,
    "split_kernel": split,
    "scale_kernel": scale,
}
