import csv
import json

import pytest
from adaconv_bench import cost, database, plot, runner, suite
from adaconv_bench.operators import adaptive_conv
from adaconv_bench.registry import Preset, adaconv_provider, operator, stems
from bench_cases import LAYER, one_percent_off, provider

SMALL = {"channels": (4, 8), "size": 4, "batch": 2, "threads": 1, "seconds": 0.01}


@pytest.fixture
def no_processes(monkeypatch):
    """Take no memory: the numbers would be those of this process."""
    monkeypatch.setattr(cost, "in_fresh_process", lambda *_: 1.5)


def test_the_convolution_and_every_block_stand_side_by_side(no_processes, tmp_path, capsys):
    files = {name: tmp_path / f"cost.{name}" for name in ("json", "csv", "png")}
    paths = {"json": files["json"], "csv": files["csv"], "plot": files["png"]}
    assert cost.run(**SMALL, **paths) == 0, capsys.readouterr().out
    assert "gate: green" in capsys.readouterr().out
    assert files["png"].read_bytes().startswith(b"\x89PNG\r\n")
    lines = database.read(files["csv"])
    names = [case.name for case in cost.drop_ins(4, 4)]
    assert [(r["value"], r["provider"]) for r in lines] == [
        (count, name) for count in ("4", "8") for name in (*names, cost.EAGER)
    ]
    assert names == [
        "Conv2d", "AdaSeparableConvBlock, pitch 4", "AdaSeparableConvBlock",
        "LocalAdaConvBlock, pitch 4", "AdaConvBlock",
    ]  # fmt: skip
    for line in lines:
        assert float(line["median_ms"]) > 0
        assert (float(line["speedup"]) == 1) == (line["provider"] == cost.ORDINARY)
    content = json.loads(files["json"].read_text())
    assert content["green"]
    assert all(row["memory"] == 1.5 for row in content["rows"])
    plot.main([str(files["csv"]), str(tmp_path / "again.png")])


def test_what_would_take_too_much_memory_is_left_out_and_said(no_processes, tmp_path, capsys):
    # Three copies of 2·16·9·C² numbers of four bytes: 0.05 MiB for 4 channels, 0.21 for 8.
    path = tmp_path / "cost.csv"
    assert cost.run(**SMALL, memory_limit=0.1 / 1024, csv=path) == 0
    assert "left out: would take about" in capsys.readouterr().out
    with path.open() as file:
        eager = [r["value"] for r in csv.DictReader(file) if r["provider"] == cost.EAGER]
    assert eager == ["4"]


def test_a_wrong_block_is_not_timed_and_fails(no_processes, monkeypatch, capsys):
    def falsified(backend):
        return provider(one_percent_off) if backend is None else adaconv_provider(backend)

    monkeypatch.setattr(cost, "adaconv_provider", falsified)
    assert cost.run(**SMALL) == 1
    text = capsys.readouterr().out
    assert "gate: AdaConvBlock, 4→4 @4²: red: " in text
    assert "gate: AdaSeparableConvBlock" not in text
    assert "wrong result" in text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channels": (0, 4)}, "channels must be at least 1, got 0, 4"),
        ({"channels": ()}, "channels must be at least 1, got"),
        ({"size": 0}, "size must be at least 1, got 0"),
        ({"threads": -1}, "threads must be at least 1, got -1"),
    ],
)
def test_bad_numbers_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        cost.run(**{**SMALL, **changes})


@pytest.fixture
def two_operators(monkeypatch, no_processes):
    """A suite of two small presets, measured here."""
    monkeypatch.setattr(runner, "in_fresh_process", lambda function, *a, **o: function(*a, **o))
    presets = {name: Preset("", 2, (LAYER,)) for name in ("some", "more")}
    monkeypatch.setattr(adaptive_conv, "PRESETS", {**presets, "other": None})
    monkeypatch.setattr(adaptive_conv, "SUITE", {"some": (), "more": ("eager-conv",)})
    monkeypatch.setattr(suite, "stems", lambda: ["adaptive_conv"])


def test_all_operators_are_measured_under_one_gate(two_operators, tmp_path, capsys):
    path = tmp_path / "all.json"
    assert suite.run(threads=1, repeats=1, json=path) == 0
    assert "gate of all: green" in capsys.readouterr().out
    content = json.loads(path.read_text())
    assert content["green"]
    assert [r["preset"] for r in content["reports"]] == ["some", "more"]
    compared = [{row["provider"] for row in r["rows"]} for r in content["reports"]]
    assert compared == [{"adaconv", "eager"}, {"adaconv", "eager", "eager-conv"}]


def test_one_red_operator_makes_all_red(two_operators, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(runner, "adaconv_provider", lambda backend: provider(one_percent_off))
    assert suite.run(threads=1, repeats=1, json=tmp_path / "all.json") == 1
    assert "gate of all: red: adaptive_conv (some)" in capsys.readouterr().out
    assert not json.loads((tmp_path / "all.json").read_text())["green"]


def test_every_operator_has_its_part_in_all():
    for each in map(operator, stems()):
        assert each.suite
        assert set(each.suite) <= set(each.presets)
        assert all(set(beside) <= set(each.providers) for beside in each.suite.values())
