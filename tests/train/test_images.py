import numpy as np
import pytest
import torch
from PIL import Image

from adaconv.train import grid, save_grid, save_samples, scatter


def test_pixels_and_places():
    # five images of one colour each: red rises from 0 to 255, green is clipped, blue is half
    images = torch.empty(5, 3, 4, 6)
    images[:, 0] = torch.linspace(-1, 1, 5).view(5, 1, 1)
    images[:, 1] = 3.0
    images[:, 2] = 0.0
    canvas = grid(images, gap=1)
    assert canvas.shape == (2 * 5 + 1, 3 * 7 + 1, 3)
    for index, red in enumerate([0, 64, 128, 191, 255]):
        row, column = divmod(index, 3)
        top, left = 1 + 5 * row, 1 + 7 * column
        tile = canvas[top : top + 4, left : left + 6].reshape(-1, 3)
        assert tile.unique(dim=0).tolist() == [[red, 255, 128]], index
    assert (canvas[6:, 15:] == 255).all()  # the empty place
    for line in (canvas[0], canvas[5], canvas[-1], canvas[:, 0], canvas[:, 7], canvas[:, -1]):
        assert (line == 255).all()


def test_columns():
    assert grid(torch.zeros(6, 3, 4, 4), columns=6, gap=0).shape == (4, 24, 3)


@pytest.mark.parametrize("shape", [(0, 3, 4, 4), (2, 1, 4, 4), (3, 4, 4)])
def test_what_is_no_colour_image(shape):
    with pytest.raises(ValueError, match=r"must be \(N, 3, H, W\) with N > 0, got"):
        grid(torch.zeros(shape))


def test_file_holds_the_grid(tmp_path):
    images = torch.rand(4, 3, 8, 8) * 2 - 1
    save_grid(images, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.format == "PNG"
        assert np.array_equal(np.asarray(picture), grid(images).numpy())


def test_points_are_drawn_where_they_lie():
    points = torch.tensor(
        [[0.0, 0.0], [2.4, 0.0], [0.0, 2.4], [-2.4, -2.4], [2.6, 0.0], [9.0, 9.0]]
    )
    canvas = scatter(points, side=50, extent=2.5)
    assert canvas.shape == (50, 50, 3)
    black = (canvas == 0).all(2).nonzero().tolist()  # row, column
    assert black == [[0, 25], [24, 25], [24, 49], [49, 0]]
    assert ((canvas == 255) | (canvas == 0)).all()
    with pytest.raises(ValueError, match=r"points must be \(N, 2\), got \(2, 3\)"):
        scatter(torch.zeros(2, 3))


def test_samples_are_images_or_points(tmp_path):
    for samples, drawn in ((torch.zeros(2, 3, 8, 8), grid), (torch.zeros(9, 2), scatter)):
        save_samples(samples, tmp_path / "a.png")
        with Image.open(tmp_path / "a.png") as picture:
            assert np.array_equal(np.asarray(picture), drawn(samples).numpy())
