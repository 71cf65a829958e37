"""Points of the plane."""

import numpy as np
import pytest
import torch

from adaconv import data
from adaconv.data.sources import toy2d


@pytest.mark.parametrize(
    ("name", "centers", "sigma", "divisor"),
    [
        ("ring", toy2d.ring_centers(), 0.02, 2**0.5),
        ("grid", toy2d.grid_centers(), 0.05, 8**0.5),
    ],
)
def test_mixtures_have_their_centers_and_spread(name, centers, sigma, divisor):
    loaded = data.load(f"toy2d:{name}")
    points, labels = loaded.values.double().numpy() * divisor, loaded.labels.numpy()
    assert len(loaded.classes) == len(centers)
    for mode, center in enumerate(centers):
        own = points[labels == mode]
        assert abs(len(own) / len(points) * len(centers) - 1) < 0.1
        assert np.abs(own.mean(0) - center).max() < 5 * sigma / len(own) ** 0.5
        np.testing.assert_allclose(own.std(0), sigma, rtol=0.05)


def test_centers():
    np.testing.assert_allclose(np.linalg.norm(toy2d.ring_centers(), axis=1), 2)
    assert len(np.unique(toy2d.ring_centers().round(6), axis=0)) == 8
    expected = [(x, y) for x in (-4, -2, 0, 2, 4) for y in (-4, -2, 0, 2, 4)]
    assert toy2d.grid_centers().tolist() == [list(map(float, point)) for point in expected]


def test_the_swiss_roll_is_a_spiral():
    points = data.load("toy2d:swiss").values.double().numpy() * 7.5
    radius, angle = np.hypot(*points.T), np.arctan2(points[:, 1], points[:, 0])
    turns = (radius - angle) / (2 * np.pi)  # radius = t and angle = t mod 2π, up to noise
    deviation = np.abs(turns - turns.round()) * 2 * np.pi
    assert np.quantile(deviation, 0.99) < 1
    assert radius.min() > 1.5 * np.pi - 1.5
    assert radius.max() < 4.5 * np.pi + 1.5


def test_points_are_the_same_at_every_call_and_differ_between_splits():
    first, again, test = (data.load("toy2d:ring", split=s) for s in ("train", "train", "test"))
    assert torch.equal(first.values, again.values)
    assert not torch.equal(first.values[: len(test)], test.values)
    assert (len(first), len(test)) == (100_000, 10_000)
    assert first[0].shape == (2,)
    assert first[0].dtype == torch.float32
