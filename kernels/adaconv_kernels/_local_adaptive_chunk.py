"""Local adaptive convolution on GPUs: the launches for some points of the grid."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from adaconv_kernels import _device, _tuning
from adaconv_kernels import local_adaptive_backward_kernels as backward_kernels
from adaconv_kernels import local_adaptive_kernels as kernels
from adaconv_kernels._device import cdiv, power_of_2
from adaconv_kernels.adaptive_conv import total_of

Result = TypeVar("Result")

#: A loop is cut into runs that different programs take, until there are so many for each
#: multiprocessor, but into none of fewer steps than these.
PROGRAMS, STEPS = 2, 4


class Tile(NamedTuple):
    """How a kernel is cut: rows, columns and length of its product at most; its launch."""

    rows: int
    columns: int
    length: int
    warps: int
    stages: int


#: How each kernel is cut: first the widest tiles, behind them shorter ones, which more programs
#: share and which spill nowhere.
CONFIGS: dict[str, tuple[Tile, ...]] = {
    "regress_kernel": (Tile(64, 128, 64, 8, 2), Tile(64, 64, 64, 8, 2)),
    "apply_kernel": (Tile(64, 64, 64, 8, 2), Tile(64, 64, 32, 8, 2)),
    "input_kernel": (Tile(64, 64, 64, 8, 2), Tile(64, 64, 32, 8, 2)),
    "weights_kernel": (Tile(64, 64, 64, 4, 2), Tile(64, 64, 32, 4, 2)),
    "features_kernel": (Tile(64, 64, 64, 4, 2), Tile(64, 32, 64, 4, 2)),
    "matrix_kernel": (Tile(64, 64, 64, 8, 2), Tile(64, 32, 64, 4, 2)),
}

#: Places of a tile of the kernels without a product: they wait for the memory alone, and have
#: nothing to choose.
PLACES = 512


class Chunk:
    """Some points of the grid and some outputs: the kernels, and the weights in memory."""

    def __init__(self, call: Any, points: slice, outputs: slice):
        self.call, self.points, self.outputs = call, points, outputs
        self.first, self.count = points.start, points.stop - points.start
        self.width = outputs.stop - outputs.start
        of_group = call.outputs // call.groups
        self.group_outputs = min(self.width, of_group)
        self.groups = self.width // self.group_outputs
        channel = outputs.start // of_group * call.depth
        self.channels = slice(channel, channel + self.groups * call.depth)
        self.weights = self.width * call.depth * call.taps
        self.d, self.P = call.d[:, points], call.P[:, outputs]
        self.W = self.P.new_empty((len(call.P), self.count, self.weights))

    def _choose(self, kernel: Any, run: Callable[[Tile], object]) -> Tile:
        """Return how a kernel is cut."""
        return _tuning.choose(kernel, self.call.bucket, CONFIGS[kernel.__name__], run, self.call.d)

    def _tuned(self, kernel: Any, run: Callable[[Tile], Result]) -> Result:
        """Run a kernel with one of its configurations."""
        return run(self._choose(kernel, run))

    def _tiles(
        self, kernel: Any, tile: Tile, rows: int | None, columns: int, length: int
    ) -> dict[str, Any]:
        """Return how a kernel is cut, by the sizes of its product: M, N, and K or D.

        Where M counts points, which depend on the batch, it is None.
        """
        last = "BLOCK_D" if "BLOCK_D" in kernel.arg_names else "BLOCK_K"
        # Two terms of what is gathered, with its addresses, do not fit the registers of every GPU.
        most = tile.length // len(self.call.P) if last == "BLOCK_K" else tile.length
        M, N, K = (
            max(16, min(power_of_2(size), limit))
            for size, limit in (
                (rows or tile.rows, tile.rows),
                (columns, tile.columns),
                (length, most),
            )
        )
        return {
            "BLOCK_M": M, "BLOCK_N": N, last: K, "num_warps": tile.warps, "num_stages": tile.stages,
        }  # fmt: skip

    def _launch(self, kernel: Any, grid: tuple[int, int, int], *own: Any, **constants: Any) -> None:
        """Run a kernel, with those of the call's constants that it has."""
        call = self.call
        common = {
            "geometry": call.geometry, "SLOPE": call.slope, "TAPS": call.taps,
            "DEPTH": call.depth, "SCALED": call.scales is not None, "TERMS": len(call.P),
        }  # fmt: skip
        given = {name: value for name, value in common.items() if name in kernel.arg_names}
        _device.launch(kernel, grid, *own, **{**given, **constants})

    def _places(self, columns: int) -> dict[str, Any]:
        """Return how a kernel without a product is cut, of so many columns."""
        block = min(power_of_2(columns), 64)
        return {"BLOCK_M": PLACES // block, "BLOCK_N": block, "num_warps": 4, "num_stages": 1}

    def _rows(self, size: int, stride: int, span: int, offset: int, factor: int) -> list[int]:
        """Return the first and the last but one row, of all pictures, that the points' pixels read.

        Those pixels read rows from ``stride`` times their own on, ``span`` more, of a picture that
        begins ``offset`` rows before and is ``factor`` times enlarged.
        """
        call, bounds = self.call, []
        _, _, height, _, down, across, _, _ = call.picture
        for point, last in ((self.first, False), (self.first + self.count - 1, True)):
            n, row = divmod(point // across, down)
            start = (row - call.side + 2) * call.pitch - call.shift
            if last:
                edge = (min(start + call.side * call.pitch, height) - 1) * stride + span - offset
                edge = edge // factor + 1
            else:
                edge = (max(start, 0) * stride - offset) // factor
            bounds.append(n * size + min(max(edge, 0), size))
        return bounds

    def regress(self) -> None:
        """Write the weights of the points."""
        call, kernel = self.call, kernels.regress_kernel
        q = None if call.q is None else call.q[self.outputs]

        def run(tile: Tile) -> None:
            tiles = self._tiles(kernel, tile, None, self.weights, call.D)
            grid = cdiv(self.weights, tiles["BLOCK_N"]), cdiv(self.count, tiles["BLOCK_M"]), 1
            self._launch(
                kernel, grid, self.d, self.d.stride(0), self.P, self.P.stride(0), q, call.scales,
                self.W, self.W.stride(0), self.count, self.weights, call.D,
                HAS_Q=q is not None, **{**tiles, "SLOPE": abs(call.slope)},
            )  # fmt: skip

        self._tuned(kernel, run)

    def products(self, gy: Tensor | None) -> Tensor:
        """Return Z, (points, slots, outputs), or its sums with gy, (points, slots, parts)."""
        call, kernel = self.call, kernels.apply_kernel
        some = None if gy is None else gy[:, self.outputs]

        def run(tile: Tile) -> Tensor:
            length = call.depth * call.taps
            tiles = self._tiles(kernel, tile, call.slots, self.group_outputs, length)
            parts = self.groups * cdiv(self.group_outputs, tiles["BLOCK_N"])
            grid = self.count * cdiv(call.slots, tiles["BLOCK_M"]), parts, 1
            last = self.width if gy is None else parts
            Z = call.x.new_empty((self.count, call.slots, last), dtype=torch.float32)
            self._launch(
                kernel, grid, *self._x(), self.W, self.W.stride(0), call.scales, some,
                call.outputs, Z, call.picture, self.first, self.width, self.group_outputs,
                GRADIENT=gy is not None, **tiles,
            )  # fmt: skip
            return Z

        return self._tuned(kernel, run)

    def _x(self) -> tuple[Tensor, int, int]:
        """Return x of the groups, the distance of its terms, and that of its pixels."""
        return self.call.x[:, :, self.channels], self.call.x.stride(0), self.call.channels

    def mix(self, Z: Tensor, total: Tensor) -> None:
        """Add to y, (pixels, O)."""
        call = self.call
        height, width = call.picture[2:4]
        start, stop = (row * width for row in self._rows(height, 1, 0, 0, 1))
        tiles = self._places(self.width)
        grid = cdiv(stop - start, tiles["BLOCK_M"]), cdiv(self.width, tiles["BLOCK_N"]), 1
        self._launch(
            kernels.mix_kernel, grid, Z, call.a, call.a.stride(), total[:, self.outputs],
            call.outputs, call.picture, start, stop, self.first, self.count, self.width, **tiles,
        )  # fmt: skip

    def filters(self, sums: Tensor, ga: Tensor) -> None:
        """Add to ga, (N, OH, OW, J)."""
        call = self.call
        height, width = call.picture[2:4]
        start, stop = (row * width for row in self._rows(height, 1, 0, 0, 1))
        self._launch(
            kernels.filters_kernel, (cdiv(stop - start, 256), 1, 1), sums, sums.shape[2], ga,
            call.picture, start, self.first, self.count, BLOCK_M=256, num_warps=4,
        )  # fmt: skip

    def shares(self) -> Tensor:
        """Return u, (terms, points, slots, outputs)."""
        call = self.call
        u = call.P.new_empty((len(call.P), self.count, call.slots, self.width))
        tiles = self._places(self.width)
        grid = cdiv(self.count * call.slots, tiles["BLOCK_M"]), cdiv(self.width, tiles["BLOCK_N"])
        self._launch(
            backward_kernels.share_kernel, (*grid, 1), call.gy[:, self.outputs], call.outputs,
            call.a, call.a.stride(), call.scales, u, u.stride(0), call.picture, self.first,
            self.count, self.width, **tiles,
        )  # fmt: skip
        return u

    def gather(self, u: Tensor, gx: Tensor) -> None:
        """Add to gx, (N, H, W, C)."""
        call, kernel = self.call, backward_kernels.input_kernel
        channels = self.groups * call.depth
        parts = u.new_empty((self.count, call.inputs, channels), dtype=torch.float32)

        def run(tile: Tile) -> None:
            length = call.taps * self.group_outputs
            tiles = self._tiles(kernel, tile, call.inputs, call.depth, length)
            grid = (
                self.count * cdiv(call.inputs, tiles["BLOCK_M"]),
                self.groups * cdiv(call.depth, tiles["BLOCK_N"]),
                1,
            )
            self._launch(
                kernel, grid, u, u.stride(0), self.W, self.W.stride(0), call.scales, parts,
                channels, call.picture, self.width, self.group_outputs, **tiles,
            )  # fmt: skip

        self._tuned(kernel, run)
        height, width = call.picture[:2]
        rows = self._rows(height, call.stride[0], call.spans[0], call.geometry[3], call.geometry[7])
        start, stop = (row * width for row in rows)
        tiles = self._places(channels)
        grid = cdiv(stop - start, tiles["BLOCK_M"]), cdiv(channels, tiles["BLOCK_N"]), 1
        self._launch(
            backward_kernels.gather_kernel, grid, parts, gx[..., self.channels], call.channels,
            call.picture, start, stop, self.first, self.count, channels, **tiles,
        )  # fmt: skip

    def differentiate(self, u: Tensor) -> None:
        """Replace the weights by their gradients."""
        call, kernel = self.call, backward_kernels.weights_kernel
        row = call.depth * call.taps

        def run(tile: Tile, W: Tensor) -> None:
            tiles = self._tiles(kernel, tile, self.group_outputs, row, call.slots)
            columns = cdiv(row, tiles["BLOCK_N"]) * cdiv(self.group_outputs, tiles["BLOCK_M"])
            self._launch(
                kernel, (self.count, self.groups * columns, 1), *self._x(), u, u.stride(0), W,
                W.stride(0), call.scales, call.picture, self.first, self.width,
                self.group_outputs, **tiles,
            )  # fmt: skip

        # What replaces its argument is timed on copies.
        run(self._choose(kernel, lambda tile: run(tile, self.W.clone())), self.W)

    def features(self) -> Tensor:
        """Return the gradient of d at the points, (points, D)."""
        call, kernel = self.call, backward_kernels.features_kernel

        def run(tile: Tile) -> Tensor:
            tiles = self._tiles(kernel, tile, None, self.weights, call.D)
            grid = cdiv(self.count, tiles["BLOCK_M"]), cdiv(call.D, tiles["BLOCK_D"])
            splits = self._splits(grid, cdiv(self.weights, tiles["BLOCK_N"]))
            parts = self.W.new_empty((splits, self.count, call.D), dtype=torch.float32)
            self._launch(
                kernel, (*grid, splits), self.W, self.W.stride(0), self.P, self.P.stride(0),
                call.scales, parts, self.count, self.weights, call.D, **tiles,
            )  # fmt: skip
            return total_of(parts)

        return self._tuned(kernel, run)

    def matrix(self) -> tuple[Tensor, Tensor]:
        """Return what the points add to the gradients of P and q."""
        call, kernel = self.call, backward_kernels.matrix_kernel

        def run(tile: Tile) -> tuple[Tensor, Tensor]:
            tiles = self._tiles(kernel, tile, None, self.weights, call.D)
            grid = cdiv(self.weights, tiles["BLOCK_N"]), cdiv(call.D, tiles["BLOCK_D"])
            splits = self._splits(grid, cdiv(self.count, tiles["BLOCK_M"]))
            gP, gq = (
                self.W.new_empty((splits, self.weights, *last), dtype=torch.float32)
                for last in ((call.D,), ())
            )
            self._launch(
                kernel, (*grid, splits), self.W, self.W.stride(0), self.d, self.d.stride(0),
                call.scales, gP, gq, self.count, self.weights, call.D, **tiles,
            )  # fmt: skip
            return total_of(gP), total_of(gq)

        return self._tuned(kernel, run)

    def _splits(self, grid: tuple[int, int], steps: int) -> int:
        wanted = PROGRAMS * _device.processors(self.call.d)
        return max(1, min(wanted // math.prod(grid), steps // STEPS))
