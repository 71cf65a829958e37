"""Every configuration of the Triton kernels is correct, and chosen whatever the batch."""

from dataclasses import replace

import adaconv_kernels
import pytest
import torch
from adaconv_kernels import _tuning
from adaptive_conv_cases import Case as Adaptive
from adaptive_separable_cases import Case as Separable
from conv_contract import results
from dynamic_conv_cases import Case as Dynamic
from local_adaptive_cases import Case as Local
from minibatch_discrimination_cases import Samples
from spectral_norm_cases import Weights
from triton_cases import OPERATORS, check

pytestmark = pytest.mark.usefixtures("poisoned", "triton_device")

#: Calls that differ in the batch, or in the steps, alone, and one that differs in more.
BATCHES = {
    "adaptive_conv": (Adaptive(1, 1, 2, (2, 2), (1, 1), 5), {"batch": 3}, {"features": 70}),
    "adaptive_separable": (Separable(1, 1, 2, (2, 2), (1, 1), 5), {"batch": 3}, {"features": 70}),
    "dynamic_conv": (Dynamic(1, 1, 2, (2, 2), (1, 1)), {"batch": 3}, {"kernel_size": (2, 1)}),
    "local_adaptive": (Local(1, 1, 2, (2, 2), (1, 1), 5), {"batch": 3}, {"features": 70}),
    "minibatch_discrimination": (
        Samples(((2, 1, 3),)), {"shapes": ((70, 1, 3),)}, {"shapes": ((2, 1, 9),)},
    ),
    "spectral_norm": (Weights(((2, 3),), 1), {"steps": 2}, {"shapes": ((2, 9),)}),
}  # fmt: skip


@pytest.mark.skipif(not adaconv_kernels.INTERPRETED, reason="a GPU checks no bounds")
@pytest.mark.parametrize("turn", range(_tuning.MOST))
@pytest.mark.parametrize("stem", OPERATORS)
def test_every_configuration_is_exact(stem, turn):
    def choose(kernel, configs):
        assert len(set(map(str, configs))) == len(configs) <= _tuning.MOST
        return configs[min(turn, len(configs) - 1)]

    check(stem, choose)


@pytest.mark.parametrize("stem", BATCHES)
def test_another_batch_is_the_same_bucket(monkeypatch, triton_device, stem):
    case, alike, other = BATCHES[stem]

    def buckets(case):
        found = set()

        def recorded(kernel, bucket, configs, run, tensor):
            found.add((kernel.__name__, bucket))
            return configs[0]

        monkeypatch.setattr(_tuning, "choose", recorded)
        tensors = [t.to(triton_device, torch.float32) for t in case.tensors(torch.ones)]
        results(case, tensors, torch.ones_like, "triton")
        return found

    found = buckets(case)
    assert found == buckets(replace(case, **alike))
    assert not found & buckets(replace(case, **other))
