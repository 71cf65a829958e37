"""Any number of samples: whole files, the same samples whatever the batches, bounded memory."""

import numpy as np
import pytest
import torch
from PIL import Image

from adaconv.train import grid
from adaconv.train.images import as_bytes
from adaconv.train.sampling import stream
from adaconv.train.writing import WRITERS, write_array, write_grid, write_pictures


def test_a_sample_depends_on_its_number_alone(tiny):
    gan = tiny()
    gan.generator.forward = lambda latent: latent  # to the bit
    whole = torch.cat(list(stream(gan, 11, seed=3)))
    for count, batch_size in ((11, 1), (11, 4), (7, 5), (2, 99)):
        batches = list(stream(gan, count, 3, batch_size))
        assert max(map(len, batches)) <= batch_size
        assert torch.equal(torch.cat(batches), whole[:count])
    assert not torch.equal(torch.cat(list(stream(gan, 11, seed=4))), whole)


def test_all_kinds_have_the_same_images(tiny, tmp_path):
    gan = tiny()
    images = torch.cat(list(stream(gan, 11, seed=0)))
    for suffix, write in WRITERS.items():
        write(stream(gan, 11, 0, batch_size=4), 11, tmp_path / f"out{suffix}")
    expected = as_bytes(images).permute(0, 2, 3, 1).numpy().astype(int)
    read = {
        "array": np.load(tmp_path / "out.npz")["arr_0"],
        "pictures": np.stack([Image.open(tmp_path / "out" / f"{i:02d}.png") for i in range(11)]),
    }
    for found in read.values():
        assert found.dtype == np.uint8
        assert found.shape == (11, 8, 8, 3)
        assert np.abs(found - expected).max() <= 1  # batches may round a sum differently
    assert np.asarray(Image.open(tmp_path / "out.png")).shape == grid(images).shape
    assert len(list((tmp_path / "out").iterdir())) == 11


def test_points_are_an_array(tmp_path):
    points = torch.randn(5, 2)
    write_array(iter(points.split(2)), 5, tmp_path / "points.npz")
    assert np.array_equal(np.load(tmp_path / "points.npz")["arr_0"], points.numpy())
    with pytest.raises(ValueError, match="points have no pictures"):
        write_pictures(iter(points.split(2)), 5, tmp_path / "points")
    assert [path.name for path in tmp_path.iterdir()] == ["points.npz"]


def test_batches_are_written_as_they_come(tmp_path):
    """When a batch is made, the one before it is on its way to the disk and nothing is kept."""
    alive = []

    def batches():
        for _ in range(6):
            batch = torch.zeros(3, 3, 8, 8)
            alive.append(torch.utils.weak.WeakIdRef(batch))
            assert sum(reference() is not None for reference in alive) <= 2
            yield batch
            del batch

    for write, name in ((write_array, "a.npz"), (write_pictures, "a")):
        write(batches(), 18, tmp_path / name)
        alive.clear()


@pytest.mark.parametrize("write", [write_grid, write_array, write_pictures])
def test_nothing_is_left_of_a_failure(write, tmp_path):
    def batches():
        yield torch.zeros(3, 3, 8, 8)
        raise RuntimeError("the disk is full")

    with pytest.raises(RuntimeError, match="the disk is full"):
        write(batches(), 6, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_use_is_refused(tmp_path):
    (tmp_path / "a.txt").write_text("mine")
    for path in (tmp_path, tmp_path / "a.txt"):
        with pytest.raises(ValueError, match="expected a new or empty folder, got"):
            write_pictures(iter([torch.zeros(1, 3, 8, 8)]), 1, path)
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    (tmp_path / "empty").mkdir()
    write_pictures(iter([torch.zeros(1, 3, 8, 8)]), 1, tmp_path / "empty")
    assert [path.name for path in (tmp_path / "empty").iterdir()] == ["0.png"]
