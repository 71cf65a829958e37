"""Adaptive convolution on GPUs: allocation and launches of the Triton kernels."""

import copy
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from adaconv_kernels import _device, _products, _signs, _tuning
from adaconv_kernels import adaptive_conv_kernels as kernels
from adaconv_kernels._device import cdiv, power_of_2

Result = TypeVar("Result")

#: Bytes that the backward pass may take at a time: the gradient of x by output pixel, and sign bits
#: that are made anew. The samples are cut so whether or not bits are kept: the sums are the same.
CHUNK_BYTES = 128 << 20

#: A loop is cut into runs that different programs take, until there are so many for each
#: multiprocessor, but into none of fewer steps than these.
PROGRAMS, STEPS = 4, 4


class Config(NamedTuple):
    """How a kernel is cut: pixels, columns (taps times outputs), features of a tile; its launch.

    Columns are a multiple of 32, a word of sign bits. The inputs' kernel has those of one tap.
    """

    pixels: int
    columns: int
    features: int
    warps: int
    stages: int


#: Sizes of D that kernels are cut for, beside any above.
SIZES = (64, 128)

#: How each kernel is cut, by whether factors are split in two, and by the size of D. In each place,
#: first what is meant for an H100: of the forward kernel the fastest of a search at AdaGAN's
#: layers, of the others what compiled to few instructions a weight; behind it what compiles for
#: every GPU without spills, see :mod:`adaconv_kernels._tuning`. Where x under a tile's taps are
#: fewer numbers than its threads, Triton lets each compute where all of them lie: the weights'
#: kernel has tiles of as many.
CONFIGS: dict[str, dict[tuple[bool, int | None], tuple[Config, ...]]] = {
    "forward_kernel": {
        (False, 64): (Config(128, 64, 128, 4, 3), Config(128, 64, 128, 8, 2)),
        (False, 128): (Config(128, 64, 128, 4, 3), Config(128, 64, 128, 8, 2)),
        (False, None): (Config(128, 64, 128, 8, 2), Config(64, 32, 64, 4, 1)),
        (True, 64): (Config(128, 64, 128, 4, 3), Config(64, 32, 128, 4, 1)),
        (True, 128): (Config(128, 64, 128, 4, 3), Config(64, 32, 128, 4, 1)),
        (True, None): (Config(64, 32, 64, 4, 1),),
    },
    "inputs_kernel": {
        (False, 64): (Config(64, 64, 64, 4, 3), Config(64, 32, 64, 4, 1)),
        (False, 128): (Config(64, 64, 128, 8, 3), Config(64, 32, 128, 8, 1)),
        (False, None): (Config(64, 64, 128, 8, 3), Config(64, 32, 64, 4, 1)),
        (True, 64): (Config(64, 64, 64, 4, 3), Config(64, 32, 64, 4, 1)),
        (True, 128): (Config(64, 64, 128, 8, 3), Config(64, 32, 128, 8, 1)),
        (True, None): (Config(64, 32, 64, 4, 1),),
    },
    "weights_kernel": {
        (False, 64): (Config(64, 128, 128, 4, 3), Config(64, 64, 128, 4, 1)),
        (False, 128): (Config(128, 64, 128, 4, 3), Config(128, 32, 128, 4, 1)),
        (False, None): (Config(128, 64, 128, 4, 2), Config(128, 32, 64, 4, 1)),
        (True, 64): (Config(64, 64, 128, 4, 3), Config(128, 32, 32, 4, 1)),
        (True, 128): (Config(128, 64, 128, 4, 2), Config(128, 32, 32, 4, 1)),
        (True, None): (Config(128, 64, 64, 4, 2), Config(128, 32, 32, 4, 1)),
    },
}


def allocate_outputs(
    x: Tensor, d: Tensor, P: Tensor, groups: int, save_signs: bool
) -> tuple[Tensor, Tensor]:
    """Return an uninitialised y, channels_last where x is, and words for the sign bits."""
    n, _, oh, ow = d.shape
    words = _signs.words_a_pixel(groups, len(P) // groups, P.shape[1:4].numel())
    last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    y = torch.empty(
        (n, P.shape[0], oh, ow),
        dtype=x.dtype,
        device=x.device,
        memory_format=torch.channels_last if last else torch.contiguous_format,
    )
    return y, torch.empty((words, n * oh * ow) if save_signs else 0, **_signs_of(x))


def allocate_gradients(
    x: Tensor, d: Tensor, P: Tensor, wanted: Sequence[bool], dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return uninitialised gradients of x, d, P and q; those that are not wanted are empty."""

    def like(tensor: Tensor, want: bool) -> Tensor:
        return torch.empty_like(tensor, dtype=dtype) if want else tensor.new_empty(0, dtype=dtype)

    q = P.new_empty(P.shape[:4] if wanted[3] else 0, dtype=dtype)
    return like(x, wanted[0]), like(d, wanted[1]), like(P, wanted[2]), q


def _signs_of(x: Tensor) -> dict[str, Any]:
    """Return type and place of sign bits."""
    return {"dtype": torch.int32, "device": x.device}


def as_rows(tensor: Tensor) -> Tensor:
    """Return (N, C, H, W) as a matrix (pixels, C), each row contiguous."""
    return tensor.permute(0, 2, 3, 1).reshape(-1, tensor.shape[1]).contiguous()


def as_picture(rows: Tensor, like: Tensor) -> Tensor:
    """Return a matrix (pixels, C) as a tensor of the shape of another."""
    n, channels, height, width = like.shape
    return rows.view(n, height, width, channels).permute(0, 3, 1, 2)


def total_of(parts: Tensor) -> Tensor:
    """Return the sum of what several programs made."""
    return parts.sum(0) if len(parts) > 1 else parts[0]


class Call:
    """One call's arguments in the form that the kernels read them."""

    def __init__(
        self,
        x: Tensor,
        d: Tensor,
        P: Tensor,
        q: Tensor | None,
        options: tuple,
        gy: Tensor | None = None,
    ):
        stride, padding, dilation, groups, self.slope, upsample = options
        self.scales = None
        if _products.is_split(d.dtype):
            self.scales = _products.scales(d, P, () if gy is None else (gy, x), self.slope)
        self.x = x
        self.d, self.P = (
            _products.factor(matrix, None if self.scales is None else self.scales[i])
            for i, matrix in enumerate((as_rows(d), P.contiguous()))
        )
        self.q = None if q is None else q.flatten(1).t().contiguous()
        self.gy = d.new_empty(0) if gy is None else as_rows(gy)
        self.groups, self.outputs, self.group_outputs = groups, len(P), len(P) // groups
        self.taps = P.shape[2] * P.shape[3]
        self.columns = P.shape[1] * self.taps
        _, self.pixels, self.features = self.d.shape
        self.words = _signs.words_a_pixel(groups, self.group_outputs, self.columns)
        self.picture = (*x.shape[2:], *d.shape[2:])
        self.geometry = (P.shape[3], *stride, *padding, *dilation, upsample)

    def rows(self, samples: slice) -> slice:
        """Return the pixels of some samples of the batch."""
        area = self.picture[2] * self.picture[3]
        return slice(samples.start * area, samples.stop * area)

    def part(self, samples: slice) -> "Call":
        """Return the same call for some samples of the batch."""
        part, rows = copy.copy(self), self.rows(samples)
        part.x, part.d, part.gy = self.x[samples], self.d[:, rows], self.gy[rows]
        part.pixels = part.d.shape[1]
        return part

    def chunks(self) -> list[slice]:
        """Return the samples, as many at a time as :data:`CHUNK_BYTES` has room for."""
        configs = CONFIGS["inputs_kernel"][self.case]
        blocks = max(cdiv(self.features, config.features) for config in configs)
        a_pixel = 4 * (self.words + blocks * self.groups * self.columns)
        size = max(1, CHUNK_BYTES // (a_pixel * self.picture[2] * self.picture[3]))
        return [slice(i, min(i + size, len(self.x))) for i in range(0, len(self.x), size)]

    @property
    def case(self) -> tuple[bool, int | None]:
        """The key of the call in :data:`CONFIGS`."""
        size = next((size for size in SIZES if self.features <= size), None)
        return self.scales is not None, size

    def tuned(
        self, kernel: Any, configs: Sequence[Config], run: Callable[[Config], Result]
    ) -> Result:
        """Run a kernel with one of its configurations."""
        sizes = (min(power_of_2(size), 128) for size in (self.group_outputs, self.groups))
        return _tuning.tuned(kernel, (self.x.dtype, self.case, *sizes), configs, run, self.x)

    def constants(self, config: Config) -> dict[str, Any]:
        """Return what a kernel is compiled for."""
        return {
            "geometry": self.geometry, "SLOPE": self.slope, "TAPS": self.taps,
            "HAS_Q": self.q is not None, "SCALED": self.scales is not None, "TERMS": len(self.P),
            "SIGN_O": _signs.outputs_of(self.group_outputs), "BLOCK_M": config.pixels,
            "BLOCK_D": max(16, min(power_of_2(self.features), config.features)),
            "num_warps": config.warps, "num_stages": config.stages,
        }  # fmt: skip

    def tile(self, config: Config) -> dict[str, int]:
        """Return how the columns are cut."""
        outputs = min(power_of_2(self.group_outputs), config.columns)
        return {"BLOCK_J": config.columns // outputs, "BLOCK_O": outputs}

    def launch(self, kernel, grid: tuple[int, int, int], *own: Any, **constants: Any) -> None:
        """Run a kernel on the arguments that all of them read, and on its own."""
        _device.launch(
            kernel, grid, self.x, self.x.stride(), self.d, self.d.stride(0), self.P,
            self.P.stride(0), self.q, self.scales, *own, self.picture, self.pixels,
            self.columns, self.features, self.outputs, self.group_outputs, **constants,
        )  # fmt: skip

    def splits(self, programs: int, steps: int) -> int:
        """Return into how many runs a loop is cut that each of so many programs would make."""
        wanted = PROGRAMS * _device.processors(self.x)
        return max(1, min(wanted // programs, steps // STEPS))


def forward(
    x: Tensor,
    d: Tensor,
    P: Tensor,
    q: Tensor | None,
    b: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    negative_slope: float,
    upsample: int,
    save_signs: bool,
) -> tuple[Tensor, Tensor]:
    """Compute y and, where asked for, the sign bits of the regressed weights."""
    y, signs = allocate_outputs(x, d, P, groups, save_signs)
    options = (stride, padding, dilation, groups, negative_slope, upsample)
    convolve(y, signs, x, d, P, q, b, options)
    return y, signs


def convolve(
    y: Tensor,
    signs: Tensor,
    x: Tensor,
    d: Tensor,
    P: Tensor,
    q: Tensor | None,
    b: Tensor | None,
    options: tuple,
) -> None:
    """Write y, of any dtype, and the sign bits, where there is room for them."""
    if y.numel() == 0:
        return
    with _device.guard(x):
        call = Call(x, d, P, q, options)
        total = as_picture(_forward(call, signs if signs.numel() else None), y)
        y.copy_(total if b is None else total.add_(b))


def _forward(call: Call, signs: Tensor | None, signs_alone: bool = False) -> Tensor:
    """Return y as a matrix (pixels, O) in float32, and write the sign bits, or these alone."""

    def run(config: Config) -> Tensor:
        constants = {**call.constants(config), **call.tile(config)}
        tiles = cdiv(call.pixels, config.pixels)
        output_tiles = call.groups * cdiv(call.group_outputs, constants["BLOCK_O"])
        splits = call.splits(tiles * output_tiles, cdiv(call.columns, constants["BLOCK_J"]))
        shape = (splits, 0 if signs_alone else call.pixels, call.outputs)
        parts = call.x.new_empty(shape, dtype=torch.float32)
        call.launch(
            kernels.forward_kernel, (tiles, output_tiles, splits), None if signs_alone else parts,
            signs, call.pixels, **constants, ONE_BLOCK=call.features <= constants["BLOCK_D"],
        )  # fmt: skip
        return total_of(parts)

    return call.tuned(kernels.forward_kernel, CONFIGS["forward_kernel"][call.case], run)


def backward(
    gy: Tensor,
    x: Tensor,
    d: Tensor,
    P: Tensor,
    q: Tensor | None,
    signs: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    negative_slope: float,
    upsample: int,
    wanted: Sequence[bool],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Compute the gradients of x, d, P and q, those that are wanted.

    The gradients of x and d are made together, and those of P and q. Where no sign bits were kept,
    those of some samples are made anew at a time.
    """
    gradients = allocate_gradients(x, d, P, wanted, x.dtype)
    if gy.numel() == 0:
        for gradient in gradients:
            gradient.zero_()
        return gradients
    gx, gd, *of_weights = gradients
    with _device.guard(x):
        options = (stride, padding, dilation, groups, negative_slope, upsample)
        call = Call(x, d, P, q, options, gy)
        totals: Sequence[Tensor] = ()
        for some in call.chunks():
            part = call.part(some)
            if signs.numel():
                bits = signs[:, call.rows(some)]
            else:
                bits = torch.empty((call.words, part.pixels), **_signs_of(x))
                _forward(part, bits, signs_alone=True)
            if wanted[0] or wanted[1]:
                _inputs(
                    part, bits, gx[some] if wanted[0] else None, gd[some] if wanted[1] else None
                )
            if wanted[2] or wanted[3]:
                found = _weights(part, bits)
                totals = (
                    [a.add_(b) for a, b in zip(totals, found, strict=True)] if totals else found
                )
        if totals:
            for gradient, total, want in zip(of_weights, totals, wanted[2:], strict=True):
                if want:
                    gradient.copy_(total.view(gradient.shape))
    return gradients


def _inputs(call: Call, signs: Tensor, gx: Tensor | None, gd: Tensor | None) -> None:
    """Write the gradients of x and d of some samples."""
    columns, total = _columns(call, signs)
    if gd is not None:
        gd.copy_(as_picture(total, gd))
    if gx is not None:
        total = torch.empty_like(gx, dtype=torch.float32)
        n, channels, h, w = gx.shape
        grid = cdiv(n * h * w, 256), channels, 1
        _device.launch(
            kernels.gather_kernel, grid, columns, total, total.stride(), call.picture, n * h * w,
            call.pixels, geometry=call.geometry, TAPS=call.taps, PARTS=len(columns), BLOCK=256,
        )  # fmt: skip
        gx.copy_(total)


def _columns(call: Call, signs: Tensor) -> tuple[Tensor, Tensor]:
    """Return gx by output pixel, (blocks of D, taps, pixels), and gd as a matrix (pixels, D)."""

    def run(config: Config) -> tuple[Tensor, Tensor]:
        outputs = max(16, min(power_of_2(call.group_outputs), config.columns))
        constants = {**call.constants(config), "BLOCK_O": outputs}
        tiles = cdiv(call.pixels, config.pixels)
        d_blocks = cdiv(call.features, constants["BLOCK_D"])
        splits = call.splits(tiles * call.groups * d_blocks, call.columns)
        columns, parts = (
            call.x.new_empty(shape, dtype=torch.float32)
            for shape in (
                (d_blocks, call.groups * call.columns, call.pixels),
                (splits * call.groups, call.pixels, call.features),
            )
        )
        call.launch(
            kernels.inputs_kernel, (tiles, call.groups, splits * d_blocks), call.gy, signs,
            signs.stride(0), columns, parts, **constants, ONE_TILE=call.group_outputs <= outputs,
            D_BLOCKS=d_blocks,
        )  # fmt: skip
        return columns, total_of(parts)

    return call.tuned(kernels.inputs_kernel, CONFIGS["inputs_kernel"][call.case], run)


def _weights(call: Call, signs: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradients of P and q in float32."""

    def run(config: Config) -> tuple[Tensor, Tensor]:
        constants = {**call.constants(config), **call.tile(config)}
        d_blocks = cdiv(call.features, constants["BLOCK_D"])
        output_tiles = call.groups * cdiv(call.group_outputs, constants["BLOCK_O"])
        j_blocks = cdiv(call.columns, constants["BLOCK_J"])
        steps = cdiv(call.pixels, config.pixels)
        splits = call.splits(j_blocks * output_tiles * d_blocks, steps)
        gP, gq = (
            call.x.new_empty((splits, *shape), dtype=torch.float32)
            for shape in (
                (call.outputs, call.columns, call.features),
                (call.columns, call.outputs),
            )
        )
        call.launch(
            kernels.weights_kernel, (j_blocks, output_tiles * d_blocks, splits), call.gy, signs,
            signs.stride(0), gP, gq, **constants, D_BLOCKS=d_blocks,
        )  # fmt: skip
        return total_of(gP), total_of(gq).t().contiguous()

    return call.tuned(kernels.weights_kernel, CONFIGS["weights_kernel"][call.case], run)
