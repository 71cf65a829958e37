"""Pictures from a folder."""

import numpy as np
import pytest

from adaconv import data

Image = pytest.importorskip("PIL.Image")
RNG = np.random.default_rng(0)


def save(path, array, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)


def flat(*color, size=(8, 8)):
    return np.broadcast_to(np.array(color, np.uint8), (*size, len(color))).copy()


def load(folder, **options):
    return data.load(f"folder:{folder}", **options).values.numpy()


def test_every_format_is_found_in_order_of_its_path(tmp_path):
    names = ["z.PNG", "b/a.jpg", "b/c.bmp", "a.webp", "d/e/f.gif", "t.tif"]
    for level, name in enumerate(names):
        save(tmp_path / name, flat(*[40 * level] * 3))
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / ".hidden.png").write_text("no picture either")
    levels = load(tmp_path, image_size=8)[:, 0, 4, 4] / 40
    assert levels.round().tolist() == [names.index(name) for name in sorted(names)]


def test_the_central_square_is_averaged_by_area(tmp_path):
    picture = RNG.integers(0, 256, (16, 24, 3), dtype=np.uint8)
    save(tmp_path / "a.png", picture)
    square = picture[:, 4:20].astype(float)
    expected = square.reshape(8, 2, 8, 2, 3).mean((1, 3)).transpose(2, 0, 1)
    assert (
        np.abs(load(tmp_path, image_size=8)[0] - expected).max() <= 1
    )  # rounded in each direction


def test_transparency_becomes_white(tmp_path):
    picture = flat(255, 0, 0, 0)
    picture[:, :, 3] = [[255] * 4 + [0] * 4] * 8
    save(tmp_path / "a.png", picture)
    loaded = load(tmp_path, image_size=8)[0]
    assert loaded[:, 0, 0].tolist() == [255, 0, 0]
    assert loaded[:, 0, 7].tolist() == [255, 255, 255]


def test_a_transparent_palette_becomes_white(tmp_path):
    picture = Image.new("P", (8, 8), 0)
    picture.putpalette([10, 20, 30, 40, 50, 60])
    picture.putpixel((3, 3), 1)
    picture.save(tmp_path / "a.png", transparency=0)
    loaded = load(tmp_path, image_size=8)[0]
    assert loaded[:, 0, 0].tolist() == [255, 255, 255]
    assert loaded[:, 3, 3].tolist() == [40, 50, 60]


def test_gray_is_repeated_and_photographs_are_turned_upright(tmp_path):
    picture = np.zeros((8, 8), np.uint8)
    picture[:, :4] = 200
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: the camera was turned a quarter
    save(tmp_path / "a.png", picture, exif=exif)
    loaded = load(tmp_path, image_size=8)[0]
    assert (loaded[:, :4] == 200).all()
    assert (loaded[:, 4:] == 0).all()


def test_small_pictures_are_enlarged_smoothly(tmp_path):
    ramp = np.repeat(np.linspace(0, 240, 8).astype(np.uint8)[None], 8, 0)
    save(tmp_path / "a.png", ramp)
    row = load(tmp_path, image_size=32)[0, 0, 16].astype(int)
    assert (np.diff(row) >= 0).all()
    assert len(set(row.tolist())) > 24  # repeating pixels would give 8 values


def test_a_folder_without_pictures(tmp_path):
    (tmp_path / "notes.txt").write_text("no picture")
    with pytest.raises(ValueError, match=r"no picture in .*got 1 other entries, expected .*\.png"):
        load(tmp_path)


def test_a_folder_that_does_not_exist(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load(tmp_path / "nowhere")


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
@pytest.mark.parametrize("kept", [0.02, 0.6])
def test_a_truncated_picture_is_named(tmp_path, suffix, kept):
    noise = RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    save(tmp_path / "whole.png", noise)
    path = tmp_path / f"cut.{suffix}"
    save(path, noise)
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    with pytest.raises(ValueError, match=rf"cut.{suffix} is truncated, damaged or no picture"):
        load(tmp_path)


def test_sixteen_bits_a_channel_are_refused_rather_than_clipped(tmp_path):
    save(tmp_path / "deep.png", np.full((8, 8), 30_000, np.uint16))
    with pytest.raises(ValueError, match=r"deep.png must have 8 bits a channel, got .*I;16"):
        load(tmp_path)


def test_only_a_train_split(tmp_path):
    save(tmp_path / "a.png", flat(1, 2, 3))
    with pytest.raises(ValueError, match="has no split 'test'; there are: train"):
        load(tmp_path, split="test")
