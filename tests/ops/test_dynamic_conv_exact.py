"""The kernels against the reference, bit for bit: on small integers every sum is exact."""

import pytest
import torch
from dynamic_conv_cases import Case, random_case, results

CASES = [random_case(seed) for seed in range(80)] + [
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
    Case(batch=1, size=(34, 33), channels=70, filters=3, options={"padding": 1}),
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


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("index", range(len(CASES)))
def test_integers_are_exact(cpu_backend, index, dtype):
    case, dtype = CASES[index], DTYPES[dtype]
    tensors = case.tensors(integers(index))

    def gy_of(y):
        return integers(index + 1)(*y.shape).to(y.dtype)

    expected = results(case, tensors, gy_of, "reference")
    given = [None if t is None else t.to(dtype) for t in tensors]
    for got, want in zip(results(case, given, gy_of, cpu_backend), expected, strict=True):
        torch.testing.assert_close(got, want.to(dtype), rtol=0, atol=0)
