"""The CUDA kernels, emulated on the host: on whole numbers they equal the reference in fp64."""

import ctypes
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from emulator import DTYPES, MISSING, SANITIZERS, argument, check_counts, some

from adaconv.ops import _checks

sys.path.insert(0, str(Path(__file__).parents[1] / "ops"))
from adaptive_conv_cases import SMALL_CASES, Case, results
from triton_contract import check_equal, integers

#: All that the operator takes; tiles of pixels, outputs and features, and what is left of each.
CASES = [
    *SMALL_CASES,
    Case(1, 1, 1, (65, 1), (1, 1), 8, with_q=False, options={}),
    Case(3, 1, 32, (5, 5), (3, 3), 24, options={"stride": 2, "padding": 1}),
    Case(1, 2, 31, (8, 8), (3, 3), 64, options={"padding": 1, "negative_slope": 1.0}),
    Case(1, 1, 33, (3, 3), (2, 2), 8, groups=2, options={}),
    Case(2, 1, 16, (6, 6), (2, 3), 65, options={"stride": (2, 1), "padding": 1}),
    Case(13, 2, 2, (3, 5), (2, 2), 16, options={"padding": (1, 0), "dilation": (1, 2)}),
    Case(1, 1, 3, (2, 2), (1, 2), 330, options={}),
    Case(1, 1, 8, (9, 8), (2, 2), 136, groups=3, options={"negative_slope": 0.25}),
]


class Call:
    """The C functions, on the tensors of a case."""

    def __init__(self, library, case, tensors, processors=1, tf32=False):
        self.library, self.case, (x, d, P, q, b) = library, case, tensors
        self.x, self.b, self.shape, self.dtype = x, b, d.shape, x.dtype
        self.d = d.movedim(1, 3).reshape(-1, d.shape[1]).contiguous()
        self.P = P.flatten(1, 3).contiguous()
        self.q = None if q is None else q.flatten(1).T.contiguous()
        numbers = [
            n
            for name, least in (("stride", 1), ("padding", 0), ("dilation", 1))
            for n in _checks.pair(name, case.options.get(name, least), least)
        ]
        more = case.options.get("upsample", 1), case.groups, processors, tf32
        self.options = (ctypes.c_int * 14)(*P.shape[2:4], *numbers, *d.shape[2:], *more)
        self.slope = ctypes.c_float(case.options.get("negative_slope", 0.0))

    def _call(self, name, *arguments, pixels=None):
        pixels = ctypes.c_int64(len(self.d) if pixels is None else pixels)
        name = f"adaptive_conv_{name}"
        scratch = self.library.scratch(name, self.dtype, pixels, argument(self.P), self.options)
        self.library.call(name, self.dtype, *map(_given, arguments), _address(scratch))

    def forward(self, with_y=True):
        """Return y, or nothing, and the bits."""
        n, _, oh, ow = self.shape
        last = self.x.is_contiguous(memory_format=torch.channels_last)
        memory = torch.channels_last if last else torch.contiguous_format
        y = self.x.new_full((n, len(self.P), oh, ow), torch.nan).to(memory_format=memory)
        o = len(self.P) // self.case.groups
        outputs = 16 if o <= 16 else 32
        words = self.case.groups * -(-self.P.shape[1] // (32 // outputs)) * -(-o // outputs)
        signs = torch.full((words, len(self.d)), -1, dtype=torch.int32)
        self._call(
            "forward", self.x, self.d, self.P, self.q, self.b, self.options, self.slope,
            y if with_y else None, ctypes.c_void_p(signs.data_ptr()),
        )  # fmt: skip
        return y if with_y else None, signs

    def inputs(self, gy, signs):
        """Return the gradients of x and d."""
        gx = torch.full_like(self.x, torch.nan)
        gd = gx.new_full(self.shape, torch.nan)
        self._call(
            "backward_inputs", _rows(gy), self.x, self.d, self.P, self.q,
            ctypes.c_void_p(signs.data_ptr()), self.options, self.slope, gx, gd,
        )  # fmt: skip
        return gx, gd

    def weights(self, gy, signs):
        """Return the gradients of P and q."""
        gP, gq = torch.full_like(self.P, torch.nan), self.P.new_full(self.P.shape[:2], torch.nan)
        self._call(
            "backward_weights", _rows(gy), self.x, self.d, self.P,
            ctypes.c_void_p(signs.data_ptr()), self.options, self.slope,
            ctypes.c_int64(len(self.d)), 0, gP, gq,
        )  # fmt: skip
        return gP, gq


def _rows(gy):
    return gy.movedim(1, 3).flatten(0, 2).contiguous()


def _address(tensor):
    return ctypes.c_void_p(tensor.data_ptr())


def _given(value):
    """Return what stands for a tensor, missing or not; other values as they are."""
    if value is None:
        return MISSING
    return argument(value) if isinstance(value, torch.Tensor) else value


def found(call, gy, recompute=False):
    """Return y and the gradients of x, d, P and q."""
    y, signs = call.forward()
    if recompute:
        _, signs = call.forward(with_y=False)
    return [y, *call.inputs(gy, signs), *call.weights(gy, signs)]


def expected(case, tensors, gy):
    """Return the same in fp64, of the reference; in the shapes that the kernels know."""
    y, gx, gd, gP, *more = results(case, tensors, lambda _: gy.double(), "reference")
    gq = [more[0].flatten(1)] if tensors[3] is not None else []
    return [y, gx, gd, gP.flatten(1, 3), *gq]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("index", some(range(len(CASES))))
def test_equals_the_reference(library, index, dtype):
    """With bits that were kept or made anew, and with loops that are cut or not."""
    case = CASES[index]
    tensors = case.tensors(integers(index))
    gy = integers(index + 1)(len(tensors[1]), len(tensors[2]), *tensors[1].shape[2:]).to(dtype)
    given = [None if t is None else t.to(dtype) for t in tensors]
    call = Call(library, case, given, 1 + 15 * (index // 2 % 2), tf32=index % 3 == 0)
    want = expected(case, tensors, gy)
    check_equal(found(call, gy, recompute=index % 2)[: len(want)], want)
