"""The losses against their closed forms, computed with Python's own functions."""

import math

import pytest
import torch

from adaconv import losses

REAL, FAKE = [0.3, -1.7, 2.5], [-0.4, 1.2, -3.0]


def log_sigmoid(a):
    return -math.log(1 + math.exp(-a))


def mean(values):
    return sum(values) / len(values)


CROSS_ENTROPY = -mean([log_sigmoid(a) for a in REAL]) - mean([log_sigmoid(-a) for a in FAKE])

CLOSED_FORMS = {
    "non_saturating_discriminator": CROSS_ENTROPY,
    "non_saturating_generator": -mean([log_sigmoid(a) for a in FAKE]),
    "minimax_discriminator": CROSS_ENTROPY,
    "minimax_generator": mean([math.log(1 - 1 / (1 + math.exp(-a))) for a in FAKE]),
    "hinge_discriminator": (
        mean([max(0, 1 - a) for a in REAL]) + mean([max(0, 1 + a) for a in FAKE])
    ),
    "hinge_generator": -mean(FAKE),
    "wasserstein_discriminator": mean(FAKE) - mean(REAL),
    "wasserstein_generator": -mean(FAKE),
}


def logits(name, real, fake):
    given = (real, fake) if name.endswith("discriminator") else (fake,)
    return [torch.tensor(values, dtype=torch.float64) for values in given]


@pytest.mark.parametrize("name", losses.__all__)
def test_closed_form(name):
    loss = getattr(losses, name)(*logits(name, REAL, FAKE))
    assert loss.shape == ()
    assert loss.item() == pytest.approx(CLOSED_FORMS[name], rel=1e-12)


@pytest.mark.parametrize("name", ["non_saturating_generator", "minimax_discriminator"])
def test_extreme_logits_stay_exact(name):
    loss = getattr(losses, name)(*logits(name, [-1000.0], [-1000.0]))
    assert loss.item() == 1000.0


def test_generators_differ_in_where_they_saturate():
    def gradient(loss):
        fake = torch.tensor([-20.0], dtype=torch.float64, requires_grad=True)
        loss(fake).backward()
        return fake.grad.item()

    assert gradient(losses.non_saturating_generator) == pytest.approx(-1)
    assert gradient(losses.minimax_generator) == pytest.approx(-math.exp(-20), rel=1e-6)
