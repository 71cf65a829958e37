"""Data sets read from files in their true formats."""

import os
import pickle

import numpy as np
import pytest
import torch
from file_formats import (
    cifar10_batch,
    cifar10_binary_batch,
    idx,
    python2_pickle,
    stl10_images,
    write_archive,
    write_fashion_mnist,
    write_folder,
)

from adaconv import data

RNG = np.random.default_rng(0)
ROUNDING = 1  # Pillow rounds twice: after each direction


def pictures(count, channels, side):
    shape = (count, channels, side, side) if channels else (count, side, side)
    return RNG.integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch):
    """No data of this machine's is found."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("ADACONV_DATA", raising=False)


# ------------------------------------------------------------------------------------ Fashion-MNIST


@pytest.fixture
def fashion(tmp_path):
    images, labels = pictures(4, 0, 28), np.array([9, 0, 3, 3], np.uint8)
    write_fashion_mnist(tmp_path, "train", images, labels)
    return tmp_path, images, labels


def test_fashion_mnist_is_framed_in_black_and_gray_in_all_channels(fashion):
    root, images, labels = fashion
    loaded = data.load("fashion-mnist", root=root)
    values = loaded.values.numpy()
    assert values.shape == (4, 3, 32, 32)
    assert (values[:, :, 2:30, 2:30] == images[:, None]).all()
    assert values[:, :, :2].max() == values[:, :, :, 30:].max() == 0
    assert loaded.labels.tolist() == labels.tolist()
    assert loaded.classes[9] == "Ankle boot"
    assert loaded[1].min() == -1


def test_fashion_mnist_is_read_uncompressed_too(tmp_path):
    images = pictures(2, 0, 28)
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(idx(images))
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx(np.array([1, 2], np.uint8)))
    loaded = data.load("fashion-mnist", root=tmp_path, split="test")
    assert (loaded.values[:, 1, 2:30, 2:30].numpy() == images).all()


def test_fashion_mnist_can_be_resized(fashion):
    loaded = data.load("fashion-mnist", root=fashion[0], image_size=16)
    blocks = np.pad(fashion[1], ((0, 0), (2, 2), (2, 2))).reshape(4, 16, 2, 16, 2).mean((2, 4))
    assert np.abs(loaded.values[:, 0].numpy() - blocks).max() <= ROUNDING


@pytest.mark.parametrize("compressed", [True, False])
def test_truncated_idx(fashion, compressed):
    path = fashion[0] / "train-images-idx3-ubyte.gz"
    if compressed:
        path.write_bytes(path.read_bytes()[:-500])
    else:
        path.unlink()
        path.with_suffix("").write_bytes(idx(fashion[1])[:-500])
    with pytest.raises(
        ValueError, match=r"images-idx3.* is truncated.*got [\d,]+ .*expected 3,152"
    ):
        data.load("fashion-mnist", root=fashion[0])


def test_idx_of_another_kind(fashion):
    (fashion[0] / "train-images-idx3-ubyte.gz").unlink()
    path = fashion[0] / "train-images-idx3-ubyte"
    path.write_bytes(idx(np.zeros(30, np.uint8)))
    with pytest.raises(
        ValueError, match=r"starts with the bytes 00 00 08 03 .*start with 00 00 08 01"
    ):
        data.load("fashion-mnist", root=fashion[0])
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="got 0 bytes that start with nothing"):
        data.load("fashion-mnist", root=fashion[0])


def test_idx_that_is_not_gzipped(fashion):
    (fashion[0] / "train-images-idx3-ubyte.gz").write_bytes(b"plain text")
    with pytest.raises(ValueError, match=r"idx3-ubyte.gz is damaged or not compressed by gzip"):
        data.load("fashion-mnist", root=fashion[0])


def test_labels_must_match_the_images(tmp_path):
    write_fashion_mnist(tmp_path, "train", pictures(4, 0, 28), np.zeros(3, np.uint8))
    with pytest.raises(ValueError, match="must label 4 images, got 3 labels"):
        data.load("fashion-mnist", root=tmp_path)


# ----------------------------------------------------------------------------------------- CIFAR-10

CIFAR_VERSIONS = {
    "python": ("cifar-10-batches-py", "", cifar10_batch),
    "binary": ("cifar-10-batches-bin", ".bin", cifar10_binary_batch),
}


def cifar10(version):
    """Files of a small CIFAR-10, with the images and labels of its batches, the test's last."""
    images, labels = pictures(18, 3, 32), RNG.integers(0, 10, 18)
    _, suffix, write = CIFAR_VERSIONS[version]
    names = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
    parts = [slice(3 * i, 3 * i + 3) for i in range(6)]
    contents = [write(labels[part], images[part]) for part in parts]
    return dict(zip([n + suffix for n in names], contents, strict=True)), images, labels


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("version", CIFAR_VERSIONS)
def test_cifar10(tmp_path, version, packed):
    files, images, labels = cifar10(version)
    files = dict(reversed(files.items()))  # the order in the archive does not matter
    folder = CIFAR_VERSIONS[version][0]
    if packed:
        place = write_archive(tmp_path / f"cifar-10-{version}.tar.gz", folder, files)
    else:
        place = write_folder(tmp_path / folder, files)
    train, test = (data.load("cifar10", root=tmp_path, split=split) for split in ("train", "test"))
    assert (train.values.numpy() == images[:15]).all()
    assert (test.values.numpy() == images[15:]).all()
    assert train.labels.tolist() == labels[:15].tolist()
    assert train.classes[6] == "frog"
    assert torch.equal(data.load("cifar10", root=place).values, train.values)  # named itself


def test_cifar10_can_be_enlarged(tmp_path):
    flat = np.full((3, 3, 32, 32), 77, np.uint8)
    files = {f"data_batch_{i}.bin": cifar10_binary_batch(np.arange(3), flat) for i in range(1, 6)}
    write_folder(tmp_path / "cifar-10-batches-bin", files)
    loaded = data.load("cifar10", root=tmp_path, image_size=48)
    assert loaded.values.shape == (15, 3, 48, 48)
    assert (loaded.values == 77).all()


@pytest.mark.parametrize("version", CIFAR_VERSIONS)
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.8])
def test_truncated_cifar10_archive(tmp_path, version, kept):
    files, *_ = cifar10(version)
    path = write_archive(tmp_path / f"cifar-10-{version}.tar.gz", "x", files)
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    with pytest.raises(ValueError, match=r"cifar-10-.*\.tar\.gz is truncated.*got [\d,]+ bytes"):
        data.load("cifar10", root=tmp_path)


def test_a_truncated_member_says_how_much_was_expected(tmp_path):
    files, *_ = cifar10("binary")
    path = write_archive(tmp_path / "cifar-10-binary.tar.gz", "x", files)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(
        ValueError, match=r"data_batch_1.bin in .* is truncated: got [\d,]+ bytes, expected 9,219"
    ):
        data.load("cifar10", root=tmp_path)


def test_truncated_cifar10_binary_batch(tmp_path):
    files, *_ = cifar10("binary")
    files["data_batch_4.bin"] = files["data_batch_4.bin"][:-1]
    write_folder(tmp_path / "cifar-10-batches-bin", files)
    with pytest.raises(ValueError, match=r"data_batch_4.bin in .*got 9,218 .*multiple of 3,073"):
        data.load("cifar10", root=tmp_path)


def test_truncated_cifar10_python_batch(tmp_path):
    files, *_ = cifar10("python")
    files["data_batch_2"] = files["data_batch_2"][:4000]
    write_folder(tmp_path / "cifar-10-batches-py", files)
    with pytest.raises(ValueError, match=r"data_batch_2 in .* is truncated .*got 4,000 bytes"):
        data.load("cifar10", root=tmp_path)


def test_a_missing_batch_is_named(tmp_path):
    files, *_ = cifar10("python")
    del files["data_batch_3"]
    write_folder(tmp_path / "cifar-10-batches-py", files)
    with pytest.raises(ValueError, match="got 4 of the 5 files expected; missing: data_batch_3"):
        data.load("cifar10", root=tmp_path)


def test_something_that_is_no_archive(tmp_path):
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(b"<html>Not found</html>")
    with pytest.raises(ValueError, match=r"tar.gz is truncated or damaged: got 22 bytes"):
        data.load("cifar10", root=tmp_path)


class Intruder:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_a_pickle_runs_no_code(tmp_path):
    created = tmp_path / "created"
    write_folder(
        tmp_path / "cifar-10-batches-py", {"test_batch": pickle.dumps(Intruder(str(created)), 2)}
    )
    with pytest.raises(ValueError, match=r"it names (posix|nt)\.mkdir, which is not admitted"):
        data.load("cifar10", root=tmp_path, split="test")
    assert not created.exists()


def test_pixels_of_another_shape(tmp_path):
    batch = {b"labels": [1, 2], b"data": np.zeros((2, 100), np.uint8)}
    write_folder(tmp_path / "cifar-10-batches-py", {"test_batch": python2_pickle(batch)})
    with pytest.raises(ValueError, match=r"shape \(2, 3072\), got uint8 \(2, 100\)"):
        data.load("cifar10", root=tmp_path, split="test")


# ------------------------------------------------------------------------------------------- STL-10


def stl10():
    unlabelled, test = pictures(5, 3, 96), pictures(3, 3, 96)
    files = {
        "test_X.bin": stl10_images(test),
        "test_y.bin": bytes([1, 10, 5]),
        "unlabeled_X.bin": stl10_images(unlabelled),
    }
    return files, unlabelled, test


@pytest.mark.parametrize("packed", [True, False])
def test_stl10(tmp_path, packed):
    files, unlabelled, test = stl10()
    if packed:
        write_archive(tmp_path / "stl10_binary.tar.gz", "stl10_binary", files)
    else:
        write_folder(tmp_path / "stl10_binary", files)
    train = data.load("stl10", root=tmp_path, image_size=48)
    blocks = unlabelled.reshape(5, 3, 48, 2, 48, 2).mean((3, 5))
    assert train.values.shape == (5, 3, 48, 48)
    assert np.abs(train.values.numpy() - blocks).max() <= ROUNDING  # 2x2 means, and not transposed
    assert train.labels is None
    labelled = data.load("stl10", root=tmp_path, image_size=96, split="test")
    assert (labelled.values.numpy() == test).all()
    assert [labelled.classes[i] for i in labelled.labels] == ["airplane", "truck", "deer"]


def test_stl10_of_more_pictures_than_are_read_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr("adaconv.data.sources.stl10.CHUNK", 2)
    files, unlabelled, _ = stl10()
    write_folder(tmp_path / "stl10_binary", files)
    loaded = data.load("stl10", root=tmp_path, image_size=96)
    assert (loaded.values.numpy() == unlabelled).all()


def test_truncated_stl10(tmp_path):
    files, *_ = stl10()
    files["unlabeled_X.bin"] = files["unlabeled_X.bin"][:-4096]
    write_folder(tmp_path / "stl10_binary", files)
    with pytest.raises(
        ValueError, match=r"unlabeled_X.bin in .* truncated .*got 134,144 .*multiple of 27,648"
    ):
        data.load("stl10", root=tmp_path)


def test_truncated_stl10_archive(tmp_path):
    files, *_ = stl10()
    path = write_archive(tmp_path / "stl10_binary.tar.gz", "stl10_binary", files)
    path.write_bytes(path.read_bytes()[:-9000])
    with pytest.raises(ValueError, match=r"unlabeled_X.bin in .* is truncated: got .* expected "):
        data.load("stl10", root=tmp_path)


def test_stl10_labels_must_match(tmp_path):
    files, *_ = stl10()
    files["test_y.bin"] = bytes([1])
    write_folder(tmp_path / "stl10_binary", files)
    with pytest.raises(ValueError, match="must label 3 images, got 1 labels"):
        data.load("stl10", root=tmp_path, split="test")


# ------------------------------------------------------------------------------ where files may lie


@pytest.mark.parametrize("base", ["environment", "home"])
@pytest.mark.parametrize("subfolder", ["", "stl10"])
def test_usual_places(tmp_path, monkeypatch, base, subfolder):
    places = {"environment": tmp_path / "data", "home": tmp_path / "home/.cache/adaconv"}
    if base == "environment":
        monkeypatch.setenv("ADACONV_DATA", str(places[base]))
    place = places[base] / subfolder
    place.mkdir(parents=True)
    write_folder(place / "stl10_binary", stl10()[0])
    assert len(data.load("stl10", image_size=8)) == 5


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        (
            "cifar10",
            ["cifar-10-python.tar.gz", "https://www.cs.toronto.edu", ".cache/adaconv/cifar10"],
        ),
        ("stl10", ["stl10_binary.tar.gz", "https://cs.stanford.edu", ".cache/adaconv/stl10"]),
        ("fashion-mnist", ["train-images-idx3-ubyte.gz", "apt install dataset-fashion-mnist"]),
    ],
)
def test_missing_files_are_explained(spec, says, monkeypatch):
    monkeypatch.setattr("adaconv.data.sources.fashion_mnist.DEBIAN", ())
    with pytest.raises(FileNotFoundError, match=f"{spec} is not on this machine") as caught:
        data.load(spec)
    assert [text for text in says if text not in str(caught.value)] == []


def test_a_root_is_the_only_place_that_is_searched(tmp_path):
    usual = tmp_path / "home/.cache/adaconv"
    usual.mkdir(parents=True)
    write_folder(usual / "stl10_binary", stl10()[0])
    with pytest.raises(FileNotFoundError, match="elsewhere"):
        data.load("stl10", root=tmp_path / "elsewhere")
