"""The kernels against the reference, bit for bit.

On small integers every order of summation gives the same result, ties of the ReLU included, so the
kernel must equal the fp64 reference exactly. This also runs in a process of its own for every
instruction set, with scratch memory filled with NaN.
"""

import pytest
import torch
from adaptive_conv_cases import Case, random_case, results

CASES = [random_case(seed) for seed in range(60)] + [
    Case(size=(1, 1), kernel_size=(1, 1)),
    Case(size=(1, 1), options={"padding": 1}),
    Case(size=(3, 3), kernel_size=(1, 1), options={"padding": 2}),
    Case(size=(2, 2), kernel_size=(5, 5), options={"padding": 4, "dilation": 2}),
    Case(batch=3, size=(32, 32), channels=2, outputs=3, features=16, options={"padding": 1}),
    Case(batch=9, size=(32, 33), channels=1, outputs=1, features=2, options={"padding": 1}),
    Case(batch=1, size=(3, 9000), channels=1, outputs=1, features=1, options={"padding": 1}),
    Case(batch=40, size=(4, 4), channels=20, outputs=12, features=20, options={"padding": 1}),
    Case(size=(4, 5), channels=9, outputs=40, features=128, options={"padding": 1}),
]


def integers(seed):
    generator = torch.Generator().manual_seed(seed)
    return lambda *shape: torch.randint(-2, 3, shape, generator=generator)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["fp32", "fp64"])
@pytest.mark.parametrize("index", range(len(CASES)))
def test_integers_are_exact(cpu_backend, index, dtype):
    case = CASES[index]
    tensors = case.tensors(integers(index))

    def gy_of(y):
        return integers(index + 1)(*y.shape).to(y.dtype)

    expected = results(case, tensors, gy_of, "reference")
    given = [None if t is None else t.to(dtype) for t in tensors]
    for got, want in zip(results(case, given, gy_of, cpu_backend), expected, strict=True):
        torch.testing.assert_close(got, want.to(dtype), rtol=0, atol=0)
