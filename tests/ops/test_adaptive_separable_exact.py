"""The kernels against the reference, bit for bit, see ``test_adaptive_conv_exact.py``."""

import pytest
import torch
from adaptive_separable_cases import Case, random_case, results

CASES = [random_case(seed) for seed in range(60)] + [
    Case(size=(1, 1), kernel_size=(1, 1)),
    Case(size=(1, 1), options={"padding": 1}),
    Case(size=(3, 3), kernel_size=(1, 1), options={"padding": 2}),
    Case(size=(2, 2), kernel_size=(5, 5), options={"padding": 4, "dilation": 2}),
    Case(batch=70, size=(8, 8), channels=20, outputs=12, features=20, options={"padding": 1}),
    Case(batch=9, size=(32, 33), channels=1, outputs=1, features=2, options={"padding": 1}),
    Case(batch=1, size=(3, 9000), channels=1, outputs=1, features=1, options={"padding": 1}),
    Case(batch=2, size=(70, 80), channels=2, outputs=3, features=9, options={"padding": (2, 1)}),
    Case(batch=1, size=(130, 70), channels=2, options={"stride": (2, 1), "dilation": (3, 1)}),
    Case(batch=1, size=(50, 41), channels=2, options={"padding": 1, "upsample": 2}),
    Case(channels=17, outputs=33, features=33, options={"padding": 1}),
    Case(channels=3, outputs=35, features=70, with_q2=False, options={"negative_slope": 0.5}),
    Case(size=(3, 9), channels=80, outputs=64, features=48, kernel_size=(2, 5), with_b=False),
    Case(size=(12, 13), channels=5, outputs=16, features=40, kernel_size=(5, 7)),
    Case(
        size=(5, 4), channels=2, outputs=3, features=8, kernel_size=(9, 9), options={"padding": 4}
    ),
    Case(size=(3, 11), options={"padding": 2, "upsample": 4, "stride": (1, 3), "dilation": 2}),
    Case(size=(4, 5), channels=9, outputs=40, features=128, options={"padding": 1}),
]


def integers(seed):
    generator = torch.Generator().manual_seed(seed)
    return lambda *shape: torch.randint(-1, 2, shape, generator=generator)


@pytest.mark.parametrize("memory", ["mask", "recompute"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["fp32", "fp64"])
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
