"""Dynamic convolution on GPUs: launches of the Triton kernels."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from adaconv_kernels import _device, _tuning
from adaconv_kernels import dynamic_conv_kernels as kernels
from adaconv_kernels._device import cdiv, power_of_2

Result = TypeVar("Result")


class Config(NamedTuple):
    """How a kernel is cut.

    Attributes:
        values: those of a tile, weights times rows times pixels.
        taps: weights of one pixel and filter.
        rows: most filters, or groups that share one.
    """

    values: int
    taps: int
    rows: int


#: How each kernel is cut: first with the most loads of a thread on their way, behind it with the
#: most programs at a time.
CONFIGS = {
    "sum_kernel": (Config(4096, 4, 8), Config(2048, 4, 8)),
    "weight_kernel": (Config(4096, 4, 8), Config(2048, 4, 8)),
}

#: A loop is cut into runs that different programs take, until there are so many for each
#: multiprocessor, but into none of fewer steps than these.
PROGRAMS, STEPS = 4, 8


def _picture(shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Return an uninitialised (N, C, H, W), channels_last where ``like`` is."""
    last = like.is_contiguous(memory_format=torch.channels_last) and not like.is_contiguous()
    layout = torch.channels_last if last else torch.contiguous_format
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=layout)


def allocate_output(x: Tensor, w: Tensor, groups: int) -> Tensor:
    """Return an uninitialised y, channels_last where x is."""
    return _picture((x.shape[0], max(w.shape[1], groups), *w.shape[5:]), x)


def allocate_input(gy: Tensor, w: Tensor, size: Sequence[int], groups: int) -> Tensor:
    """Return an uninitialised gradient of x, channels_last where gy is."""
    return _picture((gy.shape[0], w.shape[2] * groups, *size), gy)


def allocate_weight(
    gy: Tensor, x: Tensor, filters: int, kernel_size: Sequence[int], groups: int
) -> Tensor:
    """Return an uninitialised, contiguous gradient of w."""
    shape = (x.shape[0], filters, x.shape[1] // groups, *kernel_size, *gy.shape[2:])
    return gy.new_empty(shape)


def forward(
    x: Tensor,
    w: Tensor,
    b: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> Tensor:
    """Compute y."""
    call = _Call(x.shape, w.shape, stride, padding, dilation, groups)
    y = allocate_output(x, w, groups)
    return call.sum(y, x, w, b, transposed=False)


def input_gradient(
    gy: Tensor,
    w: Tensor,
    size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> Tensor:
    """Compute the gradient of an x of that height and width."""
    gx = allocate_input(gy, w, size, groups)
    call = _Call(gx.shape, w.shape, stride, padding, dilation, groups)
    return call.sum(gx, gy, w, None, transposed=True)


def weight_gradient(
    gy: Tensor,
    x: Tensor,
    filters: int,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> Tensor:
    """Compute the gradient of a w of so many filters of that size."""
    gw = allocate_weight(gy, x, filters, kernel_size, groups)
    call = _Call(x.shape, gw.shape, stride, padding, dilation, groups)
    return _device.written(gw, lambda out: call.weights(out, gy, x))


class _Call:
    """The sizes of one call, and how its tiles are cut.

    The channels fall into units: of a group and its filters, or of a filter and its groups.
    """

    def __init__(
        self,
        x: Sequence[int],
        w: Sequence[int],
        stride: Sequence[int],
        padding: Sequence[int],
        dilation: Sequence[int],
        groups: int,
    ):
        self.batch, filters, self.depth, self.height, self.width, *output = w
        self.units = min(filters, groups)
        self.filters, self.shared = filters // self.units, groups // self.units
        self.picture = (*x[2:], *output)
        self.geometry = (self.height, self.width, *stride, *padding, *dilation)

    def sum(
        self, result: Tensor, source: Tensor, w: Tensor, b: Tensor | None, transposed: bool
    ) -> Tensor:
        """Compute y, or ``transposed`` the gradient of x: sums over all taps of some channels."""
        if result.numel() == 0:
            return result
        s_n, s_s, s_c, *rest = w.stride()
        kept, summed, strides = self.filters, self.depth, (s_s, s_c)
        if transposed:
            kept, summed, strides = self.depth, self.filters, (s_c, s_s)
        w_strides = s_n, self.filters * s_s, *strides, *rest
        kernel, shared = kernels.sum_kernel, self.shared > 1
        pixels = len(result) * result.shape[2] * result.shape[3]

        def run(config: Config) -> Tensor:
            constants, grid = self._tiles(config, kept, pixels, shared)
            steps = cdiv(summed * self.height * self.width, config.taps)
            wanted = PROGRAMS * _device.processors(result) // (grid[0] * grid[1])
            splits = max(1, min(wanted, steps // STEPS))

            def write(out: Tensor, bias: Tensor | None) -> None:
                self._launch(
                    kernel, (*grid, splits), source, source.stride(), w, w_strides, bias,
                    (0,) * 4 if bias is None else bias.stride(), out,
                    out.stride() if splits > 1 else (0, *out.stride()), kept, summed,
                    TRANSPOSED=transposed, SHARED=shared, **constants,
                )  # fmt: skip

            if splits == 1:
                return _device.written(result, lambda out: write(out, b))
            parts = result.new_empty((splits, *result.shape), dtype=torch.float32)
            write(parts, None)
            total = parts.sum(0)
            return result.copy_(total if b is None else total.add_(b))

        return self._tuned(kernel, (transposed, kept, summed), run, w)

    def weights(self, gw: Tensor, gy: Tensor, x: Tensor) -> None:
        """Compute the gradient of every weight."""
        if gw.numel() == 0:
            return
        kernel, pixels = kernels.weight_kernel, self.batch * self.picture[2] * self.picture[3]

        def run(config: Config) -> None:
            constants, grid = self._tiles(config, self.filters, pixels)
            taps = cdiv(self.depth * self.height * self.width, config.taps)
            self._launch(
                kernel, (*grid, taps), gy, gy.stride(), x, x.stride(), gw, gw.stride(),
                self.filters, self.depth, **constants,
            )  # fmt: skip

        self._tuned(kernel, (self.filters, self.depth), run, gw)

    def _tuned(
        self, kernel: Any, sizes: tuple[int, ...], run: Callable[[Config], Result], w: Tensor
    ) -> Result:
        """Run a kernel with one of its configurations."""
        bucket = w.dtype, *sizes, self.shared, self.height, self.width
        return _tuning.tuned(kernel, bucket, CONFIGS[kernel.__name__], run, w)

    def _tiles(
        self, config: Config, kept: int, pixels: int, shared: bool = False
    ) -> tuple[dict[str, int], tuple[int, int]]:
        """Return how a tile is cut, and the grid: of pixels, and of channels that are kept.

        Where groups are ``shared``, a tile has the same channel of several of them.
        """
        rows = self.shared if shared else kept
        block = min(power_of_2(rows), config.rows)
        lanes = min(config.values // config.taps // block, max(32, power_of_2(pixels)))
        constants = {"BLOCK_J": config.taps, "BLOCK_R": block, "BLOCK_P": lanes, "num_warps": 4}
        tiles = cdiv(rows, block) * (kept if shared else 1)
        return constants, (cdiv(pixels, lanes), self.units * tiles)

    def _launch(self, kernel, grid, source: Tensor, *more: Any, **constants: Any) -> None:
        with _device.guard(source):
            _device.launch(
                kernel, grid, source, *more, self.batch, self.picture, self.shared,
                geometry=self.geometry, **constants,
            )  # fmt: skip
