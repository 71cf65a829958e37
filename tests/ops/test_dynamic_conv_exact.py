"""The kernels against the reference, bit for bit: on small integers every sum is exact."""

import functools

import pytest
import torch
from dynamic_conv_cases import Case, random_case, results

CASES = [random_case(seed) for seed in range(40)] + [
    Case(size=(1, 1), kernel_size=(1, 1)),
    Case(size=(1, 1), options={"padding": 1}),
    Case(size=(3, 3), kernel_size=(1, 1), options={"padding": 2}),
    Case(size=(2, 2), kernel_size=(5, 5), options={"padding": 4, "dilation": 2}),
    Case(size=(9, 2), kernel_size=(4, 1), options={"stride": (5, 1), "dilation": (2, 1)}),
    # Blocks of rows: a wide picture, a large one, one for many channels that share a filter.
    Case(batch=1, size=(3, 9000), channels=1, filters=1, options={"padding": 1}),
    Case(batch=1, size=(70, 130), channels=2, filters=2, options={"padding": (1, 2)}),
    Case(batch=1, size=(150, 70), channels=1, filters=1, groups=3, options={"stride": 2}),
    Case(batch=2, size=(20, 31), channels=1, filters=1, groups=100, options={"dilation": 3}),
    # Slices of channels and of filters.
    Case(batch=1, size=(34, 33), channels=40, filters=2, options={"padding": 1}),
    Case(batch=1, size=(8, 8), channels=3, filters=90, options={"padding": 1}),
    Case(batch=40, size=(4, 4), channels=20, filters=12, options={"padding": 1}),
]
DTYPES = {
    "fp32": torch.float32,
    "fp64": torch.float64,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}


def integers(seed):
    generator = torch.Generator().manual_seed(seed)
    return lambda *shape: torch.randint(-2, 3, shape, generator=generator)


def gradient_of(index):
    return lambda y: integers(index + 1)(*y.shape).to(y.dtype)


@functools.lru_cache(maxsize=1)
def tensors_and_results(index):
    tensors = CASES[index].tensors(integers(index))
    return tensors, results(CASES[index], tensors, gradient_of(index), "reference")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("index", range(len(CASES)))
def test_integers_are_exact(cpu_backend, index, dtype):
    (tensors, expected), dtype = tensors_and_results(index), DTYPES[dtype]
    given = [None if t is None else t.to(dtype) for t in tensors]
    found = results(CASES[index], given, gradient_of(index), cpu_backend)
    for got, want in zip(found, expected, strict=True):
        torch.testing.assert_close(got, want.to(dtype), rtol=0, atol=0)
