"""Measures of samples, on samples whose measures are known."""

import math

import pytest
import torch

from adaconv import data
from adaconv.metrics import diversity, mode_coverage


@pytest.fixture(scope="module")
def ring() -> data.PointData:
    return data.load("toy2d:ring", split="test")


def test_of_the_mixture_itself(ring):
    found = mode_coverage(ring.values, ring.centers, ring.sigma)
    assert found.modes == 8
    # a plane's Gaussian has 1 - exp(-r²/2) within r standard deviations
    assert found.quality == pytest.approx(1 - math.exp(-4.5), abs=0.003)
    assert sum(found.counts) == round(found.quality * len(ring))


def test_modes_that_are_missing_and_samples_between(ring):
    own = ring.values[ring.labels < 3]
    between = torch.zeros(len(own), 2)
    found = mode_coverage(torch.cat([own, between]), ring.centers, ring.sigma)
    assert found.modes == 3
    assert found.counts[3:] == (0,) * 5
    assert found.quality == pytest.approx(0.989 / 2, abs=0.003)


def test_the_edge_of_a_mode():
    centers = torch.tensor([[0.0, 0.0], [4.0, 0.0]])
    inside, outside = torch.tensor([[2.999, 0.0]]), torch.tensor([[0.0, 3.001]])
    assert mode_coverage(outside, centers, 1.0).counts == (0, 0)
    assert mode_coverage(inside, centers, 1.0).counts == (0, 1)  # of the nearest mode alone
    assert str(mode_coverage(inside, centers, 1.0)) == "1 of 2 modes, 100.0% of high quality"


def test_diversity_is_a_ratio_of_mean_distances(ring):
    points = ring.values[:200]
    assert diversity(points, points) == pytest.approx(1)
    assert diversity(points / 4 + 1, points) == pytest.approx(0.25, rel=1e-5)
    assert diversity(torch.ones(5, 3, 2, 2), torch.rand(4, 3, 2, 2)) == 0
    collapsed = ring.values[ring.labels == 0]
    assert diversity(collapsed, ring.values[:500]) < 0.03


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mode_coverage(torch.zeros(0, 2), torch.zeros(1, 2), 1.0), r"points .* \(0, 2\)"),
        (lambda: mode_coverage(torch.zeros(4, 2), torch.zeros(1, 3), 1.0), r"centers .* \(1, 3\)"),
        (lambda: mode_coverage(torch.zeros(4, 2), torch.zeros(1, 2), 0.0), "sigma must be positi"),
        (lambda: diversity(torch.zeros(1, 2), torch.zeros(4, 2)), r"two or more .* \(1, 2\)"),
        (lambda: diversity(torch.zeros(3, 2), torch.zeros(3, 3)), "of one shape"),
        (lambda: diversity(torch.zeros(3, 2), torch.ones(3, 2)), "3 real samples are all the same"),
    ],
)
def test_refuses(call, message):
    with pytest.raises(ValueError, match=message):
        call()
