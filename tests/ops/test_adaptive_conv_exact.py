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
    Case(channels=17, outputs=33, features=33, options={"padding": 1}),
    Case(batch=5, channels=4, outputs=16, features=64, groups=2, options={"stride": 2}),
    Case(channels=3, outputs=35, features=70, with_q=False, options={"negative_slope": 0.5}),
    Case(batch=5, channels=20, outputs=16, features=32, options={"padding": 1}),
    Case(size=(3, 9), channels=5, outputs=64, features=48, kernel_size=(2, 5), with_b=False),
    Case(batch=9, size=(32, 33), channels=1, outputs=16, features=32, options={"padding": 1}),
    Case(size=(1, 1), kernel_size=(1, 1), options={"upsample": 3}),
    Case(batch=9, size=(16, 17), channels=2, outputs=2, options={"padding": 1, "upsample": 2}),
    Case(size=(3, 11), options={"padding": 2, "upsample": 4, "stride": (1, 3), "dilation": 2}),
    Case(size=(3, 5), options={"padding": (1, 3), "upsample": 2, "stride": 2, "dilation": (2, 1)}),
    Case(size=(4, 5), channels=9, outputs=40, features=128, options={"padding": 1}),
    Case(batch=1, size=(8, 8), channels=37, outputs=16, features=33, options={"padding": 1}),
    Case(batch=1, size=(5, 5), channels=11, outputs=8, features=64, groups=3, with_q=False),
]

#: dtype, and the precision that float32 is to be multiplied in
PRECISIONS = {
    "fp32": (torch.float32, "highest"),
    "fp32-high": (torch.float32, "high"),
    "fp32-medium": (torch.float32, "medium"),
    "fp64": (torch.float64, "highest"),
    "bf16": (torch.bfloat16, "highest"),
    "fp16": (torch.float16, "highest"),
}


@pytest.fixture
def dtype(request):
    dtype, precision = PRECISIONS[request.param]
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    yield dtype
    torch.set_float32_matmul_precision(before)


def integers(seed):
    generator = torch.Generator().manual_seed(seed)
    return lambda *shape: torch.randint(-2, 3, shape, generator=generator)


@pytest.mark.parametrize("memory", ["mask", "recompute"])
@pytest.mark.parametrize("dtype", PRECISIONS, indirect=True)
@pytest.mark.parametrize("index", range(len(CASES)))
def test_integers_are_exact(cpu_backend, index, dtype, memory):
    case = CASES[index]
    tensors = case.tensors(integers(index))

    def gy_of(y):
        return integers(index + 1)(*y.shape).to(y.dtype)

    expected = results(case, tensors, gy_of, "reference")
    given = [None if t is None else t.to(dtype) for t in tensors]
    found = results(case, given, gy_of, cpu_backend, memory=memory)
    for got, want in zip(found, expected, strict=True):
        torch.testing.assert_close(got, want.to(dtype), rtol=0, atol=0)
