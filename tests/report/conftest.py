"""Runs so small that they take seconds."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from adaconv.cli import main
from adaconv.eval import Record

RECORD = Record(
    "FID-some@8", 12.345678, 0.5, 3.25, 24, 20, 5, "of five <parts>", "some@8", "ab" * 32,
    "as they are", "folder:pictures, train split", "adagan-1-3x3", 7, ("few images",),
)  # fmt: skip
TRAIN = "--image-size 8 --width 0.1 --batch-size 4 --samples 4 --threads 1 --log-every 1"


@pytest.fixture(scope="package")
def place(tmp_path_factory) -> Path:
    """A folder with two runs on pictures, one of which was evaluated, and one on points."""
    place = tmp_path_factory.mktemp("place")
    noise = np.random.default_rng(0)
    (place / "pictures").mkdir()
    for index in range(12):
        pixels = noise.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(place / "pictures" / f"{index}.png")
    threads = torch.get_num_threads()
    for line in (
        f"adagan-1-3x3 --data folder:{place}/pictures --steps 3 --sample-every 2 --out {place}/a&b",
        f"infogan --data folder:{place}/pictures --steps 1 --out {place}/codes",
        f"gan --data toy2d:ring --steps 1 --out {place}/points",
    ):
        assert main(["train", *line.split(), *TRAIN.split()]) == 0
    torch.set_num_threads(threads)
    line = json.dumps(asdict(RECORD) | {"checkpoint": "a", "step": 3})
    (place / "a&b" / "scores.jsonl").write_text(f"{line}\n")
    return place
