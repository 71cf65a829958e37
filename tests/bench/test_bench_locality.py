import json

import pytest
import torch
from adaconv_bench import locality

SMALL = {
    "channels": 3, "size": 8, "batch": 4, "steps": 40, "pitch": (1, 4), "neighbours": (9,),
    "threads": 1,
}  # fmt: skip


@pytest.fixture
def waves(monkeypatch):
    """Let the pictures be waves in all directions, and their features large."""

    def pictures(data, split, count, size):
        row, column = torch.arange(size)[:, None], torch.arange(size)
        turn = torch.randn(count, 3, 2, 1, 1)
        return torch.sin(turn[:, :, 0] * row + turn[:, :, 1] * column)

    monkeypatch.setattr(locality, "_pictures", pictures)


def test_a_grid_is_nearer_than_one_filter_and_a_fine_one_is_nearer(waves, tmp_path, capsys):
    path = tmp_path / "locality.json"
    assert locality.run(**SMALL, json=path) == 0, capsys.readouterr().out
    assert "gate: green" in capsys.readouterr().out
    findings = json.loads(path.read_text())["findings"]
    assert [f["module"] for f in findings] == [
        "Conv2d", "LocalAdaConvBlock, pitch 1, J = 9", "LocalAdaConvBlock, pitch 4, J = 9",
    ]  # fmt: skip
    ordinary, fine, coarse = findings
    assert fine["after"] < coarse["after"] < ordinary["after"]
    assert all(0 < f["after"] < f["before"] and f["speedup"] > 0 for f in findings)


def test_a_wrong_block_fails(waves, monkeypatch, capsys):
    forward = locality.LocalAdaConvBlock.forward

    def falsified(block, x):
        return forward(block, x) * (1.01 if x.dtype == torch.float32 else 1)

    monkeypatch.setattr(locality.LocalAdaConvBlock, "forward", falsified)
    assert locality.run(**{**SMALL, "steps": 1, "pitch": (2,)}) == 1
    text = capsys.readouterr().out
    assert "gate: LocalAdaConvBlock, pitch 2, J = 9: red: " in text
    assert "wrong result" in text


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        locality.run(**{**SMALL, "steps": 0})
    with pytest.raises(ValueError, match="data must be of images, got toy2d:ring"):
        locality.run(**SMALL, data="toy2d:ring")
