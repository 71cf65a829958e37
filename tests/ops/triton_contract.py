"""What is asked of every operator's Triton kernels: on a GPU, or else in Triton's interpreter.

A ``check`` is a function of no arguments that compares the kernels with the reference.
"""

import importlib.util
from pathlib import Path

import pytest
import torch

DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def calls(count):
    """Return pairs of a case's number and a dtype.

    All cases in float32, a part of them in the others, which differ in what is loaded and stored:
    the interpreter takes its time. On a GPU, where kernels are compiled for each case for seconds,
    a part of them all.
    """
    few = 5 if torch.cuda.is_available() else 1
    return [
        pytest.param(index, dtype, id=f"{index}-{dtype}")
        for dtype, step in zip(DTYPES, (few, 4, 4), strict=True)
        for index in range(0, count, step)
    ]


def integers(seed, limit=2):
    """Return a generator of whole numbers: of few and small ones every sum is exact."""
    generator = torch.Generator().manual_seed(seed)
    return lambda *shape: torch.randint(-limit, limit + 1, shape, generator=generator)


def on(device, dtype, tensors):
    """Return the tensors in that place and type; None is passed over."""
    return [None if t is None else t.detach().to(device, dtype) for t in tensors]


def check_equal(found, expected):
    """Compare results on small integers with those of float64: rounding to the dtype is all."""
    for got, want in zip(found, expected, strict=True):
        torch.testing.assert_close(got.cpu(), want.to(got.dtype), rtol=0, atol=0)


def check_integers(case, results, seed, backend, device, dtype):
    """Compare a backend's results and gradients on small integers with the reference's.

    ``case`` and ``results`` are those of an operator's ``STEM_cases.py``.
    """
    tensors = case.tensors(integers(seed))

    def gy_of(y):
        return integers(seed + 1)(*y.shape).to(y)

    expected = results(case, tensors, gy_of, "reference")
    check_equal(results(case, on(device, dtype, tensors), gy_of, backend), expected)


def check_units(found, expected, units, least=0.0):
    """Compare norms with those of float64, in units of the last place; ``least`` of any norm."""
    for got, want in zip(found, expected, strict=True):
        allowed = units * torch.finfo(got.dtype).eps * max(want.norm(), least)
        assert (got.cpu() - want).norm() <= allowed


def check_errors(case, results, device, backend="triton"):
    """Against fp64, the kernels may err twice as much as PyTorch's own arithmetic in fp32.

    ``case`` and ``results`` are those of an operator's ``STEM_cases.py``.
    """

    def normal(seed):
        generator = torch.Generator().manual_seed(seed)
        return lambda *shape: torch.randn(shape, generator=generator, dtype=torch.float64) * 0.3

    def gy_of(y):
        return normal(2)(*y.shape).to(y)

    tensors = case.tensors(normal(1))
    exact = results(case, tensors, gy_of, "reference")
    single = on(device, torch.float32, tensors)
    ours, theirs = (results(case, single, gy_of, name) for name in (backend, "reference"))
    for got, torchs, want in zip(ours, theirs, exact, strict=True):
        error, allowed = (got.cpu() - want).norm(), 2 * (torchs.cpu() - want).norm()
        assert error <= allowed + 1e-7 * want.norm()


def check_noticed(checks):
    """One of the checks must fail."""
    for check in checks:
        try:
            check()
        except AssertionError:
            return
    pytest.fail("no check noticed the fault")


def plant(monkeypatch, folder, launches, old, new, name="kernels"):
    """Change the text of the kernels that a module launches, for this test."""
    file = Path(getattr(launches, name).__file__)
    source = file.read_text()
    assert old in source
    copy = folder / f"{file.stem}_fault.py"
    copy.write_text(source.replace(old, new))
    spec = importlib.util.spec_from_file_location(copy.stem, copy)
    faulty = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(faulty)
    monkeypatch.setattr(launches, name, faulty)
