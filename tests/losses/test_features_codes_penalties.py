"""Losses of features, codes and slopes against their closed forms."""

import math

import pytest
import torch
from torch import nn
from torch.distributions import Categorical, Normal

from adaconv import losses

F64 = torch.float64


def drawn(*shape):
    return torch.randn(shape, dtype=F64, generator=torch.Generator().manual_seed(len(shape)))


def test_feature_matching():
    real, fake = drawn(4, 2, 3), drawn(4, 2, 3)[:3] + 1
    expected = sum(
        (real[:, i, j].mean() - fake[:, i, j].mean()).item() ** 2
        for i in range(2)
        for j in range(3)
    )
    assert losses.feature_matching(real, fake).item() == pytest.approx(expected, rel=1e-12)
    fake.requires_grad_()
    assert torch.autograd.gradcheck(losses.feature_matching, (real, fake))
    with pytest.raises(ValueError, match=r"one layer, got \(4, 2, 3\) and \(4, 3\)"):
        losses.feature_matching(real, drawn(4, 3))


def test_codes_and_classes():
    logits, codes = drawn(5, 3).requires_grad_(), torch.tensor([0, 2, 1, 1, 0])
    likelihood = Categorical(logits=logits).log_prob(codes).mean().item()
    for loss, expected in (
        (losses.classification, -likelihood),
        (losses.categorical_information, likelihood + math.log(3)),
    ):
        assert loss(logits, codes).item() == pytest.approx(expected, rel=1e-12)
        assert torch.autograd.gradcheck(loss, (logits, codes))
    sure = 1e4 * nn.functional.one_hot(codes, 3).float()
    assert losses.categorical_information(sure, codes).item() == pytest.approx(math.log(3))
    assert losses.categorical_information(0 * sure, codes).item() == pytest.approx(0, abs=1e-6)
    assert losses.classification(-sure, codes).item() == pytest.approx(1e4 + math.log(2))


def test_gaussian_codes():
    mean, log_std, codes = drawn(5, 2).requires_grad_(), drawn(5, 2, 1)[..., 0], drawn(2, 5).T
    log_std = log_std.requires_grad_()
    expected = Normal(mean, log_std.exp()).log_prob(codes).sum(1).mean().item() + 2 * math.log(2)
    found = losses.gaussian_information(mean, log_std, codes)
    assert found.item() == pytest.approx(expected, rel=1e-12)
    assert torch.autograd.gradcheck(losses.gaussian_information, (mean, log_std, codes))
    # one σ for all codes
    one = losses.gaussian_information(mean, torch.zeros((), dtype=F64), codes)
    expected = Normal(mean, 1.0).log_prob(codes).sum(1).mean().item() + 2 * math.log(2)
    assert one.item() == pytest.approx(expected, rel=1e-12)


def test_penalties_of_a_quadratic():
    """``D(x) = ½ xᵀAx`` has the gradient ``Ax``, A symmetric."""
    a = drawn(3, 3)
    a = (a + a.T).requires_grad_()
    real, fake, share = drawn(4, 3), drawn(4, 1, 3)[:, 0], drawn(4).sigmoid()

    def discriminator(x):
        return (x @ a * x).sum(1) / 2

    r1 = losses.r1_penalty(discriminator, real)
    assert r1.item() == pytest.approx((real @ a).square().sum(1).mean().item() / 2, rel=1e-12)
    slopes = ((share[:, None] * real + (1 - share[:, None]) * fake) @ a).norm(dim=1)
    found = losses.gradient_penalty(discriminator, real, fake, share)
    assert found.item() == pytest.approx((slopes - 1).square().mean().item(), rel=1e-12)
    for penalty in (r1, found):
        (gradient,) = torch.autograd.grad(penalty, a, retain_graph=True)
        assert gradient.abs().min() > 0
    (expected,) = torch.autograd.grad((real @ a).square().sum(1).mean() / 2, a)
    actual = torch.autograd.grad(r1, a)[0]
    symmetric = [g + g.T for g in (actual, expected)]  # A's own gradient is known up to its mirror
    torch.testing.assert_close(*symmetric)
    assert not real.requires_grad


def test_penalty_reaches_the_parameters_and_no_generator():
    network = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1), nn.Flatten(0)).double()
    real, fake = drawn(4, 3), drawn(3, 4).T.requires_grad_()
    share = torch.rand(4, dtype=F64)

    def penalty(weight):
        functional = torch.func.functional_call
        return losses.gradient_penalty(
            lambda x: functional(network, {"0.weight": weight}, (x,)), real, fake, share
        )

    assert torch.autograd.gradcheck(penalty, network[0].weight)
    penalty(network[0].weight).backward()
    assert fake.grad is None


def test_penalty_of_a_flat_discriminator_is_differentiable():
    """The norm has no gradient at 0."""
    layer = nn.Linear(3, 1)
    nn.init.zeros_(layer.weight)
    penalty = losses.gradient_penalty(layer, torch.ones(2, 3), torch.zeros(2, 3))
    penalty.backward()
    assert penalty.item() == 1
    assert layer.weight.grad.isfinite().all()


def test_mixtures_lie_between_the_samples():
    seen = []

    def discriminator(x):
        seen.append(x.detach())
        return x.sum(1)

    losses.gradient_penalty(discriminator, torch.ones(200, 2), -torch.ones(200, 2))
    (mixed,) = seen
    assert torch.equal(mixed[:, 0], mixed[:, 1])  # one share for a sample
    assert mixed.abs().max() <= 1
    assert mixed.std().item() == pytest.approx(1 / 3**0.5, abs=0.06)  # uniform in [-1, 1]


def test_penalty_refuses_what_does_not_pair():
    with pytest.raises(ValueError, match=r"in pairs, got \(2, 3\) and \(4, 3\)"):
        losses.gradient_penalty(nn.Linear(3, 1), torch.zeros(2, 3), torch.zeros(4, 3))
    with pytest.raises(ValueError, match=r"share must have shape \(2,\), got \(2, 1\)"):
        losses.gradient_penalty(
            nn.Linear(3, 1), torch.zeros(2, 3), torch.zeros(2, 3), torch.zeros(2, 1)
        )
