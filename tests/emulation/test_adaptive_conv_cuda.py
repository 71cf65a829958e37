"""The CUDA kernels, emulated on the host: on whole numbers they equal the reference in fp64."""

import ctypes
import sys
from pathlib import Path

import pytest
import torch
from emulator import DTYPES, MISSING, SANITIZERS, argument, check_counts, some

from adaconv.reference import adaptive_conv as reference

sys.path.insert(0, str(Path(__file__).parents[1] / "ops"))
from triton_contract import check_equal, integers

#: N, C, O, D; input size; kernel; stride, padding, dilation; negative slope; q and b or neither.
CASES = [
    ((1, 2, 3, 8), (4, 5), (3, 3), (1, 1), (1, 1), (1, 1), 0.0, True),
    ((2, 1, 1, 16), (5, 4), (1, 1), (1, 1), (0, 0), (1, 1), 0.5, False),
    ((1, 3, 33, 8), (3, 3), (2, 2), (1, 1), (0, 0), (1, 1), 0.0, True),
    ((3, 1, 32, 24), (5, 5), (3, 3), (2, 2), (1, 1), (1, 1), 0.0, True),
    ((1, 2, 31, 32), (8, 8), (3, 3), (1, 1), (1, 1), (1, 1), 1.0, True),
    ((1, 1, 4, 40), (9, 8), (3, 2), (1, 2), (2, 0), (2, 1), 0.0, False),
    ((5, 1, 8, 48), (4, 4), (1, 3), (1, 1), (0, 1), (1, 1), 0.25, True),
    ((1, 4, 9, 8), (1, 1), (3, 3), (1, 1), (1, 1), (1, 1), 0.0, True),
    ((1, 1, 65, 8), (2, 2), (1, 1), (1, 1), (0, 0), (1, 1), 0.0, True),
    ((13, 2, 2, 16), (3, 5), (2, 2), (1, 1), (1, 0), (1, 2), 0.0, True),
    ((1, 1, 1, 8), (65, 1), (1, 1), (1, 1), (0, 0), (1, 1), 0.0, False),
    ((2, 2, 16, 128), (4, 4), (3, 3), (1, 1), (1, 1), (1, 1), 0.0, True),
    ((1, 3, 7, 56), (7, 7), (3, 3), (3, 3), (0, 0), (1, 1), 0.5, True),
    ((2, 1, 40, 8), (6, 6), (2, 3), (2, 1), (1, 1), (1, 1), 0.0, True),
]  # fmt: skip


def drawn(case):
    """Return x, d, P, q, b of whole numbers: few and small enough that every sum is exact."""
    (n, c, o, size), shape, kernel, stride, padding, dilation, _, biased = case
    out = [
        (shape[i] + 2 * padding[i] - dilation[i] * (kernel[i] - 1) - 1) // stride[i] + 1
        for i in range(2)
    ]
    draw = integers(7, 1)
    tensors = [draw(n, c, *shape), draw(n, size, *out), draw(o, c, *kernel, size)]
    more = [draw(o, c, *kernel), draw(n, o, *out)] if biased else [None, None]
    return [None if t is None else t.double() for t in (*tensors, *more)]


def forward(library, x, d, P, q, b, stride, padding, dilation, slope):
    """Return y, by the kernel."""
    (o, kernel), dtype = (P.shape[0], P.shape[2:4]), x.dtype
    rows = d.movedim(1, 3).reshape(-1, d.shape[1]).contiguous()
    factors = P.reshape(o, -1, P.shape[4]).contiguous()
    bias = None if q is None else q.reshape(o, -1).T.contiguous()
    y = x.new_full((x.shape[0], o, *d.shape[2:]), torch.nan)
    options = (ctypes.c_int * 8)(*kernel, *stride, *padding, *dilation)
    library.call(
        "adaptive_conv_forward", dtype, *map(argument, (x, rows, factors)),
        *(MISSING if t is None else argument(t) for t in (bias, b)), options,
        ctypes.c_float(slope), argument(y),
    )  # fmt: skip
    return y


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", some(CASES))
def test_equals_the_reference(library, case, dtype):
    exact, (stride, padding, dilation, slope) = drawn(case), case[3:7]
    expected = reference.adaptive_conv2d(*exact, stride, padding, dilation, 1, slope, 1)
    given = [None if t is None else t.to(dtype) for t in exact]
    check_equal([forward(library, *given, stride, padding, dilation, slope)], [expected])


def test_any_strides(library):
    x, d, P, q, b = (t.float() for t in drawn(CASES[0]))
    options = (*CASES[0][3:6], 0.0)
    last = x.contiguous(memory_format=torch.channels_last)
    found = [forward(library, t, d, P, q, b, *options) for t in (x, last)]
    assert torch.equal(*found)


def test_a_launch_that_is_refused_says_so(library):
    x, d, P, q, b = (t.float() for t in drawn(CASES[0]))
    wide = (t.repeat_interleave(512, axis) for t, axis in ((d, 1), (P, 4)))
    with pytest.raises(RuntimeError, match="invalid argument"):
        forward(library, x, *wide, q, b, *CASES[0][3:6], 0.0)


@pytest.mark.skipif(bool(SANITIZERS), reason="nothing is counted under sanitizers")
@pytest.mark.parametrize("dtype", DTYPES)
def test_memory_is_used_well(library, dtype):
    case = ((2, 2, 32, 64), (8, 8), (3, 3), (1, 1), (1, 1), (1, 1), 0.0, True)
    given = [t.to(dtype) for t in drawn(case)]
    check_counts(library.counted(lambda: forward(library, *given, *case[3:7])))
