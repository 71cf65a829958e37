"""The CUDA kernels, emulated on the host: on whole numbers they equal the reference in fp64."""

import ctypes
import sys
from pathlib import Path

import pytest
import torch
from emulator import DTYPES, MISSING, SANITIZERS, argument, check_counts

from adaconv.ops import _checks

sys.path.insert(0, str(Path(__file__).parents[1] / "ops"))
from adaptive_conv_cases import SMALL_CASES, Case, results
from conv_contract import normal
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


STEM = "adaptive_conv"
CALLS = [(index, dtype) for index in range(len(CASES)) for dtype in DTYPES]
#: What is of values alone.
values = pytest.mark.skipif(bool(SANITIZERS), reason="the accesses are those of other tests")


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
        more = case.options.get("upsample", 1), case.groups, processors, tf32, False
        self.options = (ctypes.c_int * 15)(*P.shape[2:4], *numbers, *d.shape[2:], *more)
        self.slope = ctypes.c_float(case.options.get("negative_slope", 0.0))

    def _scratch(self, name, pixels, there=None):
        if there is not None:
            return there
        given = ctypes.c_int64(pixels), argument(self.P), self.options
        return self.library.scratch(f"{STEM}_{name}", self.dtype, *given)

    def _call(self, name, *arguments, scratch=None):
        scratch = self._scratch(name, len(self.d), scratch)
        given = map(_given, arguments)
        self.library.call(f"{STEM}_{name}", self.dtype, *given, _address(scratch))

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
            y if with_y else None, _address(signs),
        )  # fmt: skip
        return y if with_y else None, signs

    def inputs(self, gy, signs):
        """Return the gradients of x and d."""
        gx = torch.full_like(self.x, torch.nan)
        gd = gx.new_full(self.shape, torch.nan)
        self._call(
            "backward_inputs", _rows(gy), self.x, self.d, self.P, self.q,
            _address(signs), self.options, self.slope, gx, gd,
        )  # fmt: skip
        return gx, gd

    def weights(self, gy, signs, pixels=None, scratch=None, last=True):
        """Return the gradients of P and q; of a part of the pixels, with the scratch memory.

        The first part has no scratch memory yet, and the gradients are those of the last one.
        """
        pixels = len(self.d) if pixels is None else pixels
        first, scratch = scratch is None, self._scratch("backward_weights", pixels, scratch)
        gP, gq = torch.full_like(self.P, torch.nan), self.P.new_full(self.P.shape[:2], torch.nan)
        self._call(
            "backward_weights", _rows(gy), self.x, self.d, self.P, _address(signs), self.options,
            self.slope, ctypes.c_int64(pixels), 0 if first else 1,
            gP if last else None, gq if last else None, scratch=scratch,
        )  # fmt: skip
        return (gP, gq) if last else scratch


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


def drawn(case, make, dtype):
    """Return x, d, P, q, b and gy of a case."""
    tensors = case.tensors(make)
    gy = make(len(tensors[1]), len(tensors[2]), *tensors[1].shape[2:])
    return [None if t is None else t.to(dtype) for t in tensors], gy.to(dtype)


@pytest.mark.parametrize(("index", "dtype"), CALLS[::19] if SANITIZERS else CALLS)
def test_equals_the_reference(library, index, dtype):
    """With bits that were kept or made anew, and with loops that are cut or not."""
    case = CASES[index]
    tensors, gy = drawn(case, integers(index), dtype)
    call = Call(library, case, tensors, 1 + 15 * (index // 2 % 2), tf32=index % 3 == 0)
    want = expected(case, case.tensors(integers(index)), gy)
    check_equal(found(call, gy, recompute=index % 2)[: len(want)], want)


@values
@pytest.mark.parametrize("tf32", [False, True])
def test_error_is_that_of_the_products(library, tf32):
    """Of float32, against fp64, twice that of PyTorch at most; of tf32, where asked for, more."""
    slope = 1.0 if tf32 else 0.2  # other signs of weights near 0 would be other gradients
    case = Case(2, 2, 20, (5, 6), (3, 3), 40, options={"padding": 1, "negative_slope": slope})
    tensors, gy = drawn(case, normal(0, 0.3), torch.float32)
    exact = expected(case, [t.double() for t in tensors], gy)
    y, gx, gd, gP, gq, _ = results(case, tensors, lambda _: gy, "reference")
    single = y, gx, gd, gP.flatten(1, 3), gq.flatten(1)
    got = found(Call(library, case, tensors, tf32=tf32), gy)
    results_of_each = zip(got, single, exact, strict=True)
    norms = [((a - c).norm(), (b - c).norm(), c.norm()) for a, b, c in results_of_each]
    if tf32:
        assert all(error <= 2**-9 * norm for error, _, norm in norms)
        assert all(error > 8 * usual for error, usual, _ in norms[:4])  # gq is of no product
    else:
        assert all(error <= 2 * usual + 1e-7 * norm for error, usual, norm in norms)


@values
def test_bits_are_the_same_however_they_are_made(library):
    """Then so are the gradients, whose kernels know nothing of where they are from."""
    case = Case(1, 3, 20, (3, 4), (3, 2), 70, groups=2, options={"padding": 1})
    tensors, _ = drawn(case, normal(1), torch.float32)
    calls = [Call(library, case, tensors, processors) for processors in (1, 16)]
    bits = [call.forward(with_y)[1] for call in calls for with_y in (True, False)]
    assert all(torch.equal(bits[0], others) for others in bits[1:])


@values
def test_samples_may_come_in_parts(library):
    case = Case(5, 2, 3, (9, 9), (2, 2), 4, options={})
    (x, d, *more), gy = drawn(case, integers(2), torch.float32)
    whole = Call(library, case, [x, d, *more], 64)
    want = whole.weights(gy, whole.forward()[1])
    scratch = None
    for part in (slice(0, 2), slice(2, 4), slice(4, 5)):
        call = Call(library, case, [x[part], d[part], *more[:2], None], 64)
        scratch = call.weights(
            gy[part], call.forward()[1], len(whole.d), scratch, last=part.stop == len(x)
        )
    check_equal(scratch, want)


def test_any_strides(library):
    case = Case(2, 4, 3, (6, 5), (3, 3), 6, options={"padding": 1})
    (x, d, P, q, b), gy = drawn(case, integers(3), torch.float32)
    b = b[:, :, :, :1].expand_as(b)
    want = found(Call(library, case, [x, d, P, q, b.contiguous()]), gy)
    last = x.contiguous(memory_format=torch.channels_last)
    got = found(Call(library, case, [last, d, P, q, b]), gy)
    assert got[0].is_contiguous(memory_format=torch.channels_last)
    assert got[1].is_contiguous(memory_format=torch.channels_last)
    check_equal(got, want)


def test_no_samples(library):
    case = Case(0, 2, 3, (4, 4), (3, 3), 5, options={"padding": 1})
    tensors, gy = drawn(case, integers(4), torch.float32)
    y, gx, gd, gP, gq = found(Call(library, case, tensors), gy)
    assert len(y) == len(gx) == len(gd) == 0
    assert not gP.any()
    assert not gq.any()


@values
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_stays_where_it_is(library, value):
    case = Case(2, 3, 4, (6, 6), (3, 3), 7, options={"padding": 1, "negative_slope": 0.5})
    tensors, gy = drawn(case, integers(5), torch.float32)
    clean = found(Call(library, case, tensors), gy)
    tensors[0][0, 0, 0, 0] = value
    y, gx, gd, gP, _ = found(Call(library, case, tensors), gy)
    assert not any(t.isfinite().all() for t in (y[0, :, 0, 0], gd[0, :, 0, 0], gP))
    check_equal(
        [y[1], y[0, :, 2:, 2:], gx, gd[1]],
        [clean[0][1], clean[0][0, :, 2:, 2:], *clean[1:2], clean[2][1]],
    )


#: What is wrong with a call, and what is said of it.
REFUSALS = {
    "P must be contiguous": lambda call: setattr(call, "P", call.P.transpose(0, 1)),
    "d must be contiguous": lambda call: setattr(call, "d", call.d[1:]),
    "q must be contiguous": lambda call: setattr(call, "q", call.q.T),
    "must be positive": lambda call: call.options.__setitem__(2, 0),
}


@pytest.mark.parametrize("message", REFUSALS)
def test_what_does_not_fit_is_refused(library, message):
    case = Case()
    tensors, gy = drawn(case, integers(6), torch.float32)
    call = Call(library, case, tensors)
    _, signs = call.forward()
    REFUSALS[message](call)
    for run in (call.forward, lambda: call.inputs(gy, signs)):
        with pytest.raises(RuntimeError, match=message):
            run()


def test_gradients_that_do_not_fit_are_refused(library):
    case = Case()
    tensors, gy = drawn(case, integers(6), torch.float32)
    call = Call(library, case, tensors)
    _, signs = call.forward()
    for run in (call.inputs, call.weights):
        with pytest.raises(RuntimeError, match="gy must be contiguous"):
            run(gy[:1], signs)


def test_a_launch_that_is_refused_says_so(library):
    case = Case(1, 1, 1, (1, 1), (1, 1), 1, groups=1 << 16, options={})
    tensors, _ = drawn(case, integers(7), torch.float32)
    with pytest.raises(RuntimeError, match="invalid configuration argument"):
        Call(library, case, tensors).forward()


@pytest.mark.skipif(bool(SANITIZERS), reason="nothing is counted under sanitizers")
@pytest.mark.parametrize("direction", ["forward", "inputs", "weights"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_memory_is_used_well(library, dtype, direction):
    case = Case(1, 2, 32, (8, 8), (3, 3), 64, options={"padding": 1})
    tensors, gy = drawn(case, integers(8), dtype)
    call = Call(library, case, tensors)
    _, signs = call.forward()
    given = () if direction == "forward" else (gy, signs)
    check_counts(library.counted(lambda: getattr(call, direction)(*given)))
