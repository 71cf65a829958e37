"""Separable adaptive convolution on CUDA: allocation and the calls into csrc/cuda.

The second stage is adaptive convolution with a kernel of one tap, and is computed by its kernels.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from adaconv.cpu.adaptive_separable import Gradients, allocate_gradients
from adaconv.cuda import adaptive_conv
from adaconv.cuda._native import address, argument
from adaconv.reference.adaptive_separable import as_grouped, as_single_tap

__all__ = ["allocate_gradients", "allocate_outputs", "backward", "forward"]

#: Stride, padding and dilation of the second stage.
SINGLE_TAP = (1, 1), (0, 0), (1, 1)


def allocate_outputs(
    x: Tensor, d: Tensor, P2: Tensor, groups: int, save: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Return uninitialised y, u in float32, and words for the pointwise weights' sign bits.

    The last two are empty without save.
    """
    P, _ = as_single_tap(P2, None)
    y, signs = adaptive_conv.allocate_outputs(x, d, P, groups, save)
    return y, _between(x, d) if save else x.new_empty(0, dtype=torch.float32), signs


def _between(x: Tensor, d: Tensor) -> Tensor:
    """Return an uninitialised u, (N, C, OH, OW)."""
    return x.new_empty((d.shape[0], x.shape[1], *d.shape[2:]), dtype=torch.float32)


class _FirstStage(adaptive_conv._Call):
    """The first stage's arguments: of an adaptive convolution of as many groups as channels."""

    STEM = "adaptive_separable"

    def __init__(self, x: Tensor, d: Tensor, P1: Tensor, q1: Tensor | None, options: tuple):
        *geometry, slope, upsample = options
        super().__init__(x, d, *as_grouped(P1, q1), (*geometry, len(P1), slope, upsample))

    def allocate_signs(self) -> Tensor:
        """Return words for the weights' sign bits."""
        blocks, taps = -(-len(self.P) // 32), self.P.shape[1]
        return torch.empty((taps * blocks, len(self.d)), dtype=torch.int32, device=self.d.device)

    def between(self, u: Tensor | None, signs: Tensor | None) -> None:
        """Write u and the sign bits, or one of them."""
        self._start(
            "forward", argument(self.q), self.options, self.slope, argument(u), address(signs)
        )

    def input(self, gu: Tensor, gx: Tensor) -> None:
        """Write the gradient of x."""
        self._start("input", argument(self.q), self.options, self.slope, argument(gx), gy=gu)

    def gradients(self, function: str, gu: Tensor, signs: Tensor, *results: Tensor | None) -> None:
        """Write the gradient of d, the second stage's to be added first, or those of P1 and q1."""
        memory = self._memory(function, len(self.d))
        self._start(
            function, address(signs), self.options, self.slope, *map(argument, results),
            address(memory), gy=gu,
        )  # fmt: skip


def _second_stage(
    u: Tensor, d: Tensor, P2: Tensor, q2: Tensor | None, groups: int, slope: float
) -> adaptive_conv._Call:
    return adaptive_conv._Call(u, d, *as_single_tap(P2, q2), (*SINGLE_TAP, groups, slope, 1))


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
    if y.numel() > 0:
        d = d.contiguous(memory_format=torch.channels_last)  # of which both stages take rows
        u = saved if save else _between(x, d)
        first = _FirstStage(x, d, P1, q1, (stride, padding, dilation, negative_slope, upsample))
        first.between(u, None)
        second = _second_stage(u, d, P2, q2, groups, negative_slope)
        second.forward(y, b, signs if save else None)
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

    The sign bits of the first stage are made anew, and so is u where it was not saved. What goes
    from one stage to the other is in float32.
    """
    gradients = allocate_gradients(x, d, P1, P2, wanted, x.dtype)
    if gy.numel() == 0:
        return gradients
    gx, gd, gP1, gq1, gP2, gq2 = (
        g if want else None for g, want in zip(gradients, wanted, strict=True)
    )
    first = _FirstStage(x, d, P1, q1, (stride, padding, dilation, negative_slope, upsample))
    bits, saved = first.allocate_signs(), u.numel() > 0
    u = u if saved else _between(x, d)
    first.between(None if saved else u, bits)
    gu, gd2, *of_second = adaptive_conv.backward(
        gy, u, d, *as_single_tap(P2, q2), signs, *SINGLE_TAP, groups, negative_slope, 1,
        (any(wanted[:4]), wanted[1], *wanted[4:]),
    )  # fmt: skip
    for gradient, found in zip((gP2, gq2), of_second, strict=True):
        if gradient is not None:
            gradient.copy_(found.view(gradient.shape))
    if gx is not None:
        first.input(gu, gx)
    if gd is not None:
        first.gradients("features", gu, bits, gd2, gd)
    if gP1 is not None or gq1 is not None:
        first.gradients("weights", gu, bits, gP1, gq1)
    return gradients
