"""Sign bits of regressed weights, 32 to a word: all that gradients need of the weights.

A word has the bits of one pixel, of ``SIGN_O`` neighbouring outputs and of as many taps as fill it:
of 32 outputs where a group has so many, otherwise of all, rounded up to a power of two. Words lie
as (groups · blocks of taps · blocks of outputs, pixels), so that neighbours in memory are
neighbouring pixels, and a kernel may be cut in any way whose columns, taps times outputs with the
outputs innermost, are a multiple of 32.
"""

# mypy: ignore-errors
# (Triton's language has the syntax of Python, not its types.)

import triton
import triton.language as tl
from triton.language import constexpr

from adaconv_kernels._device import cdiv, power_of_2


def outputs_of(group_outputs: int) -> int:
    """Return the outputs that a word has bits of, ``SIGN_O``."""
    return min(power_of_2(group_outputs), 32)


def words_a_pixel(groups: int, group_outputs: int, taps: int) -> int:
    """Return the number of words; ``taps`` are those of all channels of a group."""
    outputs = outputs_of(group_outputs)
    return groups * cdiv(taps, 32 // outputs) * cdiv(group_outputs, outputs)


@triton.jit
def words_of(group, j, o, J, group_outputs, SIGN_O: constexpr):
    """Return the rows of the words with the bits of taps j and outputs o of a group."""
    TAPS: constexpr = 32 // SIGN_O
    block = group * tl.cdiv(J, TAPS) + j // TAPS
    return block.to(tl.int64) * tl.cdiv(group_outputs, SIGN_O) + o // SIGN_O


@triton.jit
def pack(z):
    """Return whether each of (rows, columns) is positive: (rows, columns / 32) words.

    Of 8 neighbouring columns a lane of the tensor cores' results has 2, so that their places in a
    word are known up to one shift.
    """
    positive = (z > 0).reshape(z.shape[0], z.shape[1] // 32, 4, 4, 2).to(tl.int32)
    bits = positive << (8 * tl.arange(0, 4)[:, None, None] + tl.arange(0, 2))
    bits = tl.sum(tl.sum(bits, 4), 2)
    return tl.sum(bits << (2 * tl.arange(0, 4)), 2)


@triton.jit
def unpack(words, lanes):
    """Return whether the bits at these places of each word are set: (rows, words · lanes)."""
    positive = (words[:, :, None] & (1 << lanes)) != 0
    return positive.reshape(words.shape[0], words.shape[1] * lanes.shape[0])
