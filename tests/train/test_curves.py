"""Curves of metrics."""

import json

import numpy as np
import pytest
from PIL import Image

from adaconv.train import plot_metrics, read_metrics
from adaconv.train.curves import PANELS

ROWS = [
    {"step": step, "discriminator_loss": 1.0, "generator_loss": 2.0 / step, "diversity": 0.5}
    for step in (1, 2, 3)
]


def test_reads_a_folder_and_a_file(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    assert read_metrics(tmp_path) == read_metrics(path) == ROWS


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (None, FileNotFoundError, "there are no metrics at"),
        ("", ValueError, "must hold lines of metrics"),
        ("[1]\n", ValueError, "must hold lines of metrics"),
        ("no json\n", ValueError, "holds something else than metrics"),
    ],
)
def test_refuses_other_files(content, error, message, tmp_path):
    if content is not None:
        (tmp_path / "metrics.jsonl").write_text(content)
    with pytest.raises(error, match=message):
        read_metrics(tmp_path / "metrics.jsonl")


def test_draws_what_is_there(tmp_path):
    plot_metrics({"a": ROWS}, tmp_path / "two.png")
    every = {key: 0.5 for keys in PANELS.values() for key in keys}
    plot_metrics({"a": ROWS, "b": [{"step": 1, **every}]}, tmp_path / "all.png")
    two, all_ = (np.asarray(Image.open(tmp_path / name)) for name in ("two.png", "all.png"))
    assert two.shape[0] < all_.shape[0]  # seven panels instead of two
    blue = (two[..., :3] == (0x2F, 0x6D, 0xB5)).all(2).sum(1)
    assert blue.sum() > 200


def test_there_must_be_something(tmp_path):
    with pytest.raises(ValueError, match="nothing to draw in the metrics of a"):
        plot_metrics({"a": [{"step": 1}]}, tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()
