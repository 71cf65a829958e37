"""The adversarial losses against their closed forms, computed with Python's own functions."""

import math

import pytest
import torch

from adaconv import losses
from adaconv.losses import adversarial

REAL, FAKE = [0.3, -1.7, 2.5], [-0.4, 1.2, -3.0]
NAMES = [n for n in losses.__all__ if n in vars(adversarial)]


def log_sigmoid(a):
    return -math.log(1 + math.exp(-a))


def mean(values):
    return sum(values) / len(values)


def cross_entropy(values, target):
    return -mean([target * log_sigmoid(a) + (1 - target) * log_sigmoid(-a) for a in values])


CLOSED_FORMS = {
    "non_saturating_discriminator": cross_entropy(REAL, 1) + cross_entropy(FAKE, 0),
    "non_saturating_generator": -mean([log_sigmoid(a) for a in FAKE]),
    "minimax_discriminator": cross_entropy(REAL, 1) + cross_entropy(FAKE, 0),
    "minimax_generator": mean([math.log(1 - 1 / (1 + math.exp(-a))) for a in FAKE]),
    "smoothed_discriminator": cross_entropy(REAL, 0.9) + cross_entropy(FAKE, 0),
    "hinge_discriminator": (
        mean([max(0, 1 - a) for a in REAL]) + mean([max(0, 1 + a) for a in FAKE])
    ),
    "hinge_generator": -mean(FAKE),
    "wasserstein_discriminator": mean(FAKE) - mean(REAL),
    "wasserstein_estimate": mean(REAL) - mean(FAKE),
    "wasserstein_generator": -mean(FAKE),
    "least_squares_discriminator": (
        mean([(a - 1) ** 2 for a in REAL]) / 2 + mean([a**2 for a in FAKE]) / 2
    ),
    "least_squares_generator": mean([(a - 1) ** 2 for a in FAKE]) / 2,
}


def logits(name, real, fake, **options):
    given = (fake,) if name.endswith("generator") else (real, fake)
    return [torch.tensor(values, **{"dtype": torch.float64, **options}) for values in given]


@pytest.mark.parametrize("name", NAMES)
def test_closed_form_and_gradient(name):
    loss = getattr(losses, name)
    given = logits(name, REAL, FAKE, requires_grad=True)
    assert loss(*given).shape == ()
    assert loss(*given).item() == pytest.approx(CLOSED_FORMS[name], rel=1e-12)
    assert torch.autograd.gradcheck(loss, given)


def test_two_sided_smoothing():
    loss = losses.smoothed_discriminator(*logits("", REAL, FAKE), alpha=0.8, beta=0.1)
    expected = cross_entropy(REAL, 0.8) + cross_entropy(FAKE, 0.1)
    assert loss.item() == pytest.approx(expected, rel=1e-12)
    sharp = losses.smoothed_discriminator(*logits("", REAL, FAKE), alpha=1.0)
    assert sharp.item() == losses.non_saturating_discriminator(*logits("", REAL, FAKE)).item()
    for wrong in ({"alpha": 1.5}, {"beta": -0.1}):
        ((name, value),) = wrong.items()
        with pytest.raises(ValueError, match=rf"{name} must lie in \[0, 1\], got {value}"):
            losses.smoothed_discriminator(*logits("", REAL, FAKE), **wrong)


def test_the_best_discriminator_of_smoothed_labels():
    """Of p and q: where both are equally dense, σ(D) = (α p + β q) / (p + q) is stationary."""
    alpha, beta = 0.9, 0.2
    best = (alpha + beta) / 2
    logit = torch.tensor(math.log(best / (1 - best)), dtype=torch.float64, requires_grad=True)
    losses.smoothed_discriminator(logit, logit, alpha, beta).backward()
    assert logit.grad.item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("name", ["non_saturating_generator", "minimax_discriminator"])
def test_extreme_logits_stay_exact(name):
    loss = getattr(losses, name)(*logits(name, [-1000.0], [-1000.0]))
    assert loss.item() == 1000.0


@pytest.mark.parametrize("sign", [-1.0, 1.0])
@pytest.mark.parametrize("name", NAMES)
def test_huge_logits_stay_finite(name, sign):
    given = logits(name, [sign * 1e4], [-sign * 1e4], dtype=torch.float32, requires_grad=True)
    loss = getattr(losses, name)(*given)
    loss.backward()
    assert loss.isfinite()
    assert all(logit.grad.isfinite() for logit in given)


def test_generators_differ_in_where_they_saturate():
    def gradient(loss):
        fake = torch.tensor([-20.0], dtype=torch.float64, requires_grad=True)
        loss(fake).backward()
        return fake.grad.item()

    assert gradient(losses.non_saturating_generator) == pytest.approx(-1)
    assert gradient(losses.minimax_generator) == pytest.approx(-math.exp(-20), rel=1e-6)
