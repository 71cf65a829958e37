"""Separable adaptive convolution on GPUs: launches of the Triton kernels.

The second stage is adaptive convolution with a kernel of one tap, and is computed by its kernels.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from adaconv_kernels import _device, adaptive_conv
from adaconv_kernels import adaptive_separable_kernels as kernels
from adaconv_kernels._device import cdiv, power_of_2
from adaconv_kernels.adaptive_conv import Call, Config, as_picture, total_of

#: How each kernel is cut, its columns being channels, by whether factors are split in two: first
#: the widest tiles without spills, behind them shorter ones, which more programs share.
CONFIGS: dict[str, dict[bool, tuple[Config, ...]]] = {
    "forward_kernel": {
        False: (Config(64, 32, 64, 8, 2), Config(64, 16, 64, 4, 2)),
        True: (Config(64, 32, 64, 8, 2), Config(64, 16, 64, 4, 2)),
    },
    "input_kernel": {
        False: (Config(64, 32, 64, 8, 2), Config(64, 16, 64, 4, 2)),
        True: (Config(64, 32, 64, 8, 2), Config(64, 16, 64, 4, 2)),
    },
    "features_kernel": {
        False: (Config(64, 32, 64, 8, 2), Config(64, 16, 64, 4, 2)),
        True: (Config(64, 32, 64, 8, 2), Config(64, 16, 64, 8, 2)),
    },
    "weights_kernel": {
        False: (Config(64, 32, 64, 8, 2), Config(32, 32, 64, 8, 2)),
        True: (Config(32, 32, 64, 8, 2), Config(32, 16, 64, 8, 2)),
    },
}

Result = TypeVar("Result")

#: Stride, padding and dilation of the second stage.
SINGLE_TAP = (1, 1), (0, 0), (1, 1)

Gradients = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]


def allocate_outputs(
    x: Tensor, d: Tensor, P2: Tensor, groups: int, save: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Return uninitialised y, u in float32, and words for the pointwise weights' sign bits.

    The last two are empty without save.
    """
    y, signs = adaptive_conv.allocate_outputs(x, d, _single_tap(P2), groups, save)
    return y, _between(x, d) if save else x.new_empty(0, dtype=torch.float32), signs


def _between(x: Tensor, d: Tensor) -> Tensor:
    """Return an uninitialised u, (N, C, OH, OW), with neighbouring channels in memory."""
    n, _, oh, ow = d.shape
    return x.new_empty((n, oh, ow, x.shape[1]), dtype=torch.float32).permute(0, 3, 1, 2)


def _single_tap(P2: Tensor) -> Tensor:
    """Return the second stage's matrix, or bias, as that of a 1x1 kernel."""
    return P2[:, :, None, None]


def allocate_gradients(
    x: Tensor, d: Tensor, P1: Tensor, P2: Tensor, wanted: Sequence[bool], dtype: torch.dtype
) -> Gradients:
    """Return uninitialised gradients of all but b; those that are not wanted are empty."""
    gx, gd = (
        torch.empty_like(t, dtype=dtype) if want else t.new_empty(0, dtype=dtype)
        for t, want in zip((x, d), wanted[:2], strict=True)
    )
    gP1, gq1, gP2, gq2 = (
        P1.new_empty(shape if want else 0, dtype=dtype)
        for shape, want in zip(
            (P1.shape, P1.shape[:3], P2.shape, P2.shape[:2]), wanted[2:], strict=True
        )
    )
    return gx, gd, gP1, gq1, gP2, gq2


def forward(
    x: Tensor,
    d: Tensor,
    P1: Tensor,
    q1: Tensor | None,
    P2: Tensor,
    q2: Tensor | None,
    b: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    negative_slope: float,
    upsample: int,
    save: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute y and, where asked for, return u and the sign bits of the second stage."""
    y, saved, signs = allocate_outputs(x, d, P2, groups, save)
    u = saved if save else _between(x, d)
    _first_stage(u, x, d, P1, q1, (stride, padding, dilation, negative_slope, upsample))
    q2 = None if q2 is None else _single_tap(q2)
    second = (*SINGLE_TAP, groups, negative_slope, 1)
    adaptive_conv.convolve(y, signs, u, d, _single_tap(P2), q2, b, second)
    return y, saved, signs


def backward(
    gy: Tensor,
    x: Tensor,
    d: Tensor,
    P1: Tensor,
    q1: Tensor | None,
    P2: Tensor,
    q2: Tensor | None,
    u: Tensor,
    signs: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    negative_slope: float,
    upsample: int,
    wanted: Sequence[bool],
) -> Gradients:
    """Compute the gradients of all arguments but b, those that are wanted.

    Those of both stages are in float32 until they are complete.
    """
    gradients = allocate_gradients(x, d, P1, P2, wanted, x.dtype)
    if gy.numel() == 0:
        for gradient in gradients:
            gradient.zero_()
        return gradients
    gx, gd, gP1, gq1, gP2, gq2 = gradients
    first = stride, padding, dilation, negative_slope, upsample
    if u.numel() == 0:
        u = _between(x, d)
        _first_stage(u, x, d, P1, q1, first)
    gu, gd2, *of_second = adaptive_conv.backward(
        gy, u, d, _single_tap(P2), None if q2 is None else _single_tap(q2), signs,
        *SINGLE_TAP, groups, negative_slope, 1, (any(wanted[:4]), wanted[1], *wanted[4:]),
    )  # fmt: skip
    for gradient, found, want in zip((gP2, gq2), of_second, wanted[4:], strict=True):
        if want:
            gradient.copy_(found.view(gradient.shape))
    if not any(wanted[:4]):
        return gradients
    with _device.guard(x):
        call = _first_call(x, d, P1, q1, first, gu)
        if wanted[0]:
            _device.written(gx, lambda out: _input(call, out))
        if wanted[1]:
            gd.copy_(as_picture(_features(call), gd).add_(gd2))
        if wanted[2] or wanted[3]:
            totals = _weights(call)
            for gradient, found, want in zip((gP1, gq1), totals, wanted[2:4], strict=True):
                if want:
                    gradient.copy_(found.view(gradient.shape))
    return gradients


def _first_call(
    x: Tensor, d: Tensor, P1: Tensor, q1: Tensor | None, options: tuple, gu: Tensor | None
) -> Call:
    """Return the first stage as an adaptive convolution of as many groups as channels."""
    *geometry, slope, upsample = options
    q = None if q1 is None else q1.unsqueeze(1)
    return Call(x, d, P1.unsqueeze(1), q, (*geometry, len(P1), slope, upsample), gu)


def _first_stage(
    u: Tensor, x: Tensor, d: Tensor, P1: Tensor, q1: Tensor | None, options: tuple
) -> None:
    """Write u."""
    if u.numel() == 0:
        return
    with _device.guard(x):
        call = _first_call(x, d, P1, q1, options, None)

        def run(config: Config) -> None:
            constants = _tiles(call, config)
            grid = cdiv(call.pixels, config.pixels), cdiv(call.outputs, constants["BLOCK_C"]), 1
            call.launch(kernels.forward_kernel, grid, u, **constants)

        _tuned(call, kernels.forward_kernel, run)


def _input(call: Call, gx: Tensor) -> None:
    """Write the gradient of x."""
    count = gx.shape[0] * gx.shape[2] * gx.shape[3]

    def run(config: Config) -> None:
        constants = _tiles(call, config)
        grid = cdiv(count, config.pixels), cdiv(call.outputs, constants["BLOCK_C"]), 1
        call.launch(kernels.input_kernel, grid, call.gy, gx, gx.stride(), count, **constants)

    _tuned(call, kernels.input_kernel, run)


def _features(call: Call) -> Tensor:
    """Return the gradient of d, (pixels, D)."""

    def run(config: Config) -> Tensor:
        constants = _tiles(call, config)
        tiles, blocks = (
            cdiv(call.pixels, config.pixels),
            cdiv(call.features, constants["BLOCK_D"]),
        )
        steps = call.taps * cdiv(call.outputs, constants["BLOCK_C"])
        splits = call.splits(tiles * blocks, steps)
        parts = call.gy.new_empty((splits, call.pixels, call.features))
        call.launch(kernels.features_kernel, (tiles, blocks, splits), call.gy, parts, **constants)
        return total_of(parts)

    return _tuned(call, kernels.features_kernel, run)


def _weights(call: Call) -> tuple[Tensor, Tensor]:
    """Return the gradients of P1 and q1, in float32."""

    def run(config: Config) -> tuple[Tensor, Tensor]:
        constants = _tiles(call, config)
        columns = call.taps * cdiv(call.outputs, constants["BLOCK_C"])
        blocks = cdiv(call.features, constants["BLOCK_D"])
        splits = call.splits(columns * blocks, cdiv(call.pixels, config.pixels))
        gP = call.gy.new_empty((splits, call.outputs, call.taps, call.features))
        gq = call.gy.new_empty((splits, call.outputs, call.taps))
        grid = columns, blocks, splits
        call.launch(kernels.weights_kernel, grid, call.gy, gP, gq, **constants)
        return total_of(gP), total_of(gq)

    return _tuned(call, kernels.weights_kernel, run)


def _tuned(call: Call, kernel: Any, run: Callable[[Config], Result]) -> Result:
    """Run a kernel with one of its configurations."""
    return call.tuned(kernel, CONFIGS[kernel.__name__][call.scales is not None], run)


def _tiles(call: Call, config: Config) -> dict[str, Any]:
    """Return how a kernel is cut, and what it is compiled for."""
    return {
        "geometry": call.geometry, "SLOPE": call.slope, "TAPS": call.taps,
        "HAS_Q": call.q is not None, "SCALED": call.scales is not None, "TERMS": len(call.P),
        "BLOCK_M": config.pixels,
        "BLOCK_C": max(16, min(power_of_2(call.outputs), config.columns)),
        "BLOCK_D": max(16, min(power_of_2(call.features), config.features)),
        "num_warps": config.warps, "num_stages": config.stages,
    }  # fmt: skip
