"""The lab: what is filmed is what happened, and the page and the animation show it."""

import base64
import json
import re

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

from adaconv import data, models
from adaconv.cli import main
from adaconv.lab import Camera
from adaconv.train import Checkpoint, sample


@pytest.fixture(scope="module")
def ring() -> data.PointData:
    return data.load("toy2d:ring", split="test")


def test_the_field_is_the_discriminators(ring):
    gan = models.create("gan", width=0.05, points=True)
    gan.discriminator.forward = lambda points: 3 * points[:, 0] - points[:, 1]
    camera = Camera(ring)
    gan.discriminator.train()
    camera(7, gan)
    (frame,) = camera.frames
    assert frame.step == 7
    assert gan.discriminator.training
    # the first row is the highest y, the first column the lowest x
    side = len(frame.field)
    first = camera.extent * (1 / side - 1)
    expected = 2 / (1 + np.exp(-(3 * first + first))) - 1
    assert frame.field[0, 0].item() * frame.scale == pytest.approx(expected, abs=1e-5)
    assert frame.field.abs().max() == 1
    assert (frame.field[:, 1:] >= frame.field[:, :-1]).all()
    assert (frame.field[1:] >= frame.field[:-1]).all()


def test_a_critics_field_fills_its_range(ring):
    gan = models.create("wgan-gp", width=0.05, points=True)
    camera = Camera(ring)
    camera(0, gan)
    field = camera.frames[0].field
    assert (field.min().item(), field.max().item()) == pytest.approx((-1, 1), abs=1e-6)


def decoded(text: str, kind: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), kind)


def test_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = ["gan", "wgan-gp", "consensus"]
    line = f"lab toy2d:ring --model {' '.join(names)} --steps 4 6 8 --frames 3 --width 0.1 --seed 3"
    pages = []
    for out in ("a", "b"):
        assert main([*line.split(), "--out", out, "--threads", "1"]) == 0
        pages.append((tmp_path / out / "lab.html").read_text())
    printed = capsys.readouterr().out
    for name, steps in zip(names, (4, 6, 8), strict=True):
        result = rf"{name}: \d of 8 modes, \d+\.\d% of high quality; {steps} steps in \d+ s"
        assert re.search(result, printed)

    texts = [re.search(r'id="content">(.*?)</script>', page)[1] for page in pages]
    contents = [json.loads(text) for text in texts]
    recordings = contents[0]["recordings"]
    assert [r["name"] for r in recordings] == names
    assert [r["frames"][-1]["step"] for r in recordings] == [4, 6, 8]
    assert "src=" not in pages[0]
    assert "http" not in pages[0]
    for ours, again in zip(recordings, contents[1]["recordings"], strict=True):
        assert ours["frames"] == again["frames"]  # decided by the seed
        assert len(ours["metrics"]["modes"]) >= 2
        saved = Checkpoint.load(tmp_path / "a" / ours["name"] / "checkpoint.safetensors").create()
        latent = saved.latent(400, generator=torch.Generator().manual_seed(3))
        expected = sample(saved, latent) / contents[0]["extent"]
        shown = decoded(ours["frames"][-1]["samples"], "<i2").reshape(-1, 2) / 32767
        np.testing.assert_allclose(shown, expected.clamp(-1, 1), atol=1e-4)
        assert decoded(ours["frames"][0]["field"], "i1").shape == (48 * 48,)

    frames = [f.copy() for f in ImageSequence.Iterator(Image.open(tmp_path / "a" / "lab.gif"))]
    assert len(frames) == max(len(r["frames"]) for r in recordings)
    assert not np.array_equal(*(np.asarray(f.convert("RGB")) for f in (frames[0], frames[-1])))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["twemoji"], "points of the plane, toy2d:..., got twemoji"),
        (["--model", "dcgan"], "dcgan makes no points; there are: consensus, gan, wgan-gp"),
        (["--model", "gna"], "did you mean 'gan'"),
        (["--model", "gan", "gan"], "--model takes different models"),
        (["--model", "gan", "--steps", "3", "4"], "--steps takes one number, or one for each of 1"),
        (["--model", "gan", "--steps", "0"], "a step and two frames at least, got 0 steps"),
        (["--model", "gan", "--frames", "1"], "got 5000 steps, 1 frames"),
    ],
)
def test_refuses(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["lab", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
