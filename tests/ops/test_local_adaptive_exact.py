"""The kernels against the reference, bit for bit, see ``test_adaptive_conv_exact.py``."""

import pytest
import torch
from local_adaptive_cases import Case, depthwise, random_case, results

CASES = [random_case(seed) for seed in range(16)] + [
    Case(size=(1, 1), kernel_size=(1, 1), pitch=1),
    Case(size=(1, 1), neighbours=9, options={"padding": 1}),
    Case(size=(2, 2), kernel_size=(5, 5), pitch=2, options={"padding": 4, "dilation": 2}),
    Case(batch=9, size=(8, 8), channels=16, outputs=12, features=20, options={"padding": 1}),
    Case(batch=1, size=(3, 700), channels=1, outputs=1, features=1, options={"padding": 1}),
    Case(batch=1, size=(21, 23), channels=8, outputs=17, pitch=2, options={"padding": (2, 1)}),
    Case(batch=1, size=(17, 13), channels=16, outputs=33, neighbours=9, options={"padding": 1}),
    Case(batch=1, size=(70, 20), channels=2, pitch=2, options={"stride": (2, 1), "dilation": 9}),
    Case(batch=1, size=(20, 21), channels=2, options={"padding": 1, "upsample": 2}),
    Case(channels=17, outputs=65, features=33, options={"padding": 1}),
    Case(size=(12, 13), channels=5, outputs=16, features=40, kernel_size=(5, 7), pitch=3),
    Case(size=(2, 9), channels=80, outputs=50, features=48, kernel_size=(2, 5), with_b=False),
    # Every channel by itself.
    depthwise(16, options={"padding": 1}),
    depthwise(37, size=(21, 10), pitch=2, features=18, neighbours=9, options={"padding": (2, 1)}),
    depthwise(20, kernel_size=(5, 5), pitch=3, options={"stride": (1, 2), "negative_slope": 0.5}),
    depthwise(3, kernel_size=(2, 6), with_q=False, options={"dilation": (2, 1), "upsample": 2}),
    depthwise(48, batch=3, size=(5, 4), kernel_size=(1, 1), with_b=False),
]


def integers(seed):
    generator = torch.Generator().manual_seed(seed)
    return lambda *shape: torch.randint(-1, 2, shape, generator=generator)


EACH = [(index, torch.float32) for index in range(len(CASES))]
EACH += [(index, torch.float64) for index in range(0, len(CASES), 3)]


@pytest.mark.parametrize(("index", "dtype"), EACH)
def test_integers_are_exact(cpu_backend, index, dtype):
    case = CASES[index]
    tensors = case.tensors(integers(index))

    def gy_of(y):
        return integers(index + 1)(*y.shape).to(y.dtype)

    expected = results(case, tensors, gy_of, "reference")
    given = [None if t is None else t.to(dtype) for t in tensors]
    for got, want in zip(results(case, given, gy_of, cpu_backend), expected, strict=True):
        torch.testing.assert_close(got, want.to(dtype), rtol=0, atol=0)
