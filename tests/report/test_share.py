"""What is shared of a run is its model, and the card tells the truth about it."""

from pathlib import Path

import pytest
import torch

from adaconv.cli import main
from adaconv.models import GAN
from adaconv.train import Checkpoint, read_metrics

pytest.importorskip("huggingface_hub")


def test_the_model_of_a_run(place, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["share", str(place / "a&b"), "--out", "given"]) == 0
    assert capsys.readouterr().out == "model and card in given\n"
    saved = Checkpoint.load(place / "a&b" / "checkpoint.safetensors")
    gan = GAN.from_pretrained("given")
    assert gan.config == saved.model
    assert all(torch.equal(v, saved.networks[k]) for k, v in gan.state_dict().items())
    card = Path("given/README.md").read_text()
    machine = read_metrics(place / "a&b")[0]["machine"]
    for words in (
        "# adagan-1-3x3",
        "images of 8x8 pixels",
        "| FID-some@8 | 12.346 ± 0.5 | 3.25 | 24 | 20 | 3 |",
        "- FID-some@8: of five <parts>; against folder:pictures, train split; features some@8",
        "weights abababababab; seed 7; few images",
        "| steps | 3 |",
        "| batch_size | 4 |",
        f"| processor | {machine['processor']} |",
    ):
        assert words in card
    assert "nothing is known of the training" not in card

    before = {path: path.read_bytes() for path in Path("given").iterdir()}
    assert main(["share", str(place / "codes"), "--out", "given"]) == 2
    assert "expected a new or empty folder, got given" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in Path("given").iterdir()} == before
    assert main(["share", str(place / "points"), "--out", "points"]) == 0
    card = Path("points/README.md").read_text()
    assert "points of the plane" in card
    assert "It was not evaluated." in card


def test_no_run_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["share", "nowhere"]) == 2
    assert "there is no run at nowhere" in capsys.readouterr().err
    assert main(["share", "nowhere", "--out", "no/where"]) == 2
    assert list(tmp_path.iterdir()) == []
