"""Minibatch discrimination as a module."""

import pytest
import torch

from adaconv.nn import MinibatchDiscrimination


def test_appends_the_closeness_to_the_features():
    module = MinibatchDiscrimination(4, 3, 2).double()
    x = torch.randn(5, 4).double()
    y = module(x)
    M = torch.einsum("na,abc->nbc", x, module.weight)
    k = torch.exp(-(M[:, None] - M).abs().sum(3))
    torch.testing.assert_close(y, torch.cat([x, k.sum(1) - 1], 1))
    included = MinibatchDiscrimination(4, 3, 2, exclude_self=False).double()
    included.load_state_dict(module.state_dict())
    torch.testing.assert_close(included(x), torch.cat([x, k.sum(1)], 1))


def test_second_set_comes_last():
    module = MinibatchDiscrimination(4, 3, 2).double()
    x, other = torch.randn(5, 4).double(), torch.randn(7, 4).double()
    y = module(x, other)
    M, Z = (torch.einsum("na,abc->nbc", t, module.weight) for t in (x, other))
    k = torch.exp(-(M[:, None] - Z).abs().sum(3))
    torch.testing.assert_close(y, torch.cat([module(x), k.sum(1)], 1))


def test_independent_features_are_about_one_apart():
    torch.manual_seed(0)
    module = MinibatchDiscrimination(500)
    o = module(torch.randn(200, 500))[:, 500:] / 199
    assert 0.2 < o.mean() < 0.5


def test_identical_samples_are_seen():
    module = MinibatchDiscrimination(10, 3)
    x = torch.randn(1, 10).expand(8, 10)
    torch.testing.assert_close(module(x)[:, 10:], torch.full((8, 3), 7.0))


def test_shows_its_sizes():
    module = MinibatchDiscrimination(10, 3, 2, exclude_self=False)
    assert repr(module) == "MinibatchDiscrimination(10, 3, kernel_size=2, exclude_self=False)"


@pytest.mark.parametrize(
    ("attempt", "error", "message"),
    [
        (lambda: MinibatchDiscrimination(0), ValueError, "in_features must be .* got 0"),
        (lambda: MinibatchDiscrimination(4, 2.5), ValueError, r"out_features must be .* got 2\.5"),
        (
            lambda: MinibatchDiscrimination(4)(torch.zeros(2, 5)),
            ValueError,
            r"x must have shape \(N, 4\), got \(2, 5\)",
        ),
        (
            lambda: MinibatchDiscrimination(4)(torch.zeros(2, 4), torch.zeros(4)),
            ValueError,
            r"other must have shape \(N, 4\), got \(4,\)",
        ),
        (lambda: MinibatchDiscrimination(4)([1.0]), TypeError, "x must be a tensor, got list"),
    ],
)
def test_refuses_arguments(attempt, error, message):
    with pytest.raises(error, match=message):
        attempt()
