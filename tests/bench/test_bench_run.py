import json
from dataclasses import replace

import pytest
import torch
from adaconv_bench import database, run, runner
from adaconv_bench.operators import adaptive_conv
from adaconv_bench.registry import Place, Preset, Provider
from bench_cases import (
    LAYER,
    cannot_start,
    gradient_one_percent_off,
    one_percent_off,
    one_tap_short,
    provider,
)

import adaconv


def test_from_a_preset_to_table_json_and_plot(tiny, no_processes, tmp_path, capsys):
    out, plot = tmp_path / "out.json", tmp_path / "plot.png"
    against = ["eager", "eager-tuned", "limit"]
    csv = tmp_path / "out.csv"
    code = run(preset=tiny, against=against, threads=1, repeats=3, json=out, csv=csv, plot=plot)
    text = capsys.readouterr().out
    assert code == 0, text
    assert "gate: green" in text
    assert plot.read_bytes().startswith(b"\x89PNG\r\n")

    content = json.loads(out.read_text())
    assert content["machine"]["threads"] == 1
    assert content["machine"]["torch"] == torch.__version__
    for name in ("torch.mm", "FMA"):
        median, best = (content["limits"][f"{name} float32, GFLOP/s{of}"] for of in ("", ", best"))
        assert 1 < median <= best
    assert len(database.read(csv)) == 9
    rows = {(row["provider"], row["direction"]): row for row in content["rows"]}
    assert len(rows) == len(content["rows"]) == 9
    ours, eager = rows["adaconv", "forward+backward"], rows["eager", "forward+backward"]
    assert ours["seconds"]["count"] == eager["seconds"]["count"] == 3
    expected = eager["seconds"]["median"] / ours["seconds"]["median"]
    assert eager["speedup"]["medians"] == pytest.approx(expected)
    assert ours["speedup"] is None
    rate = 3 * LAYER.flops(32) / ours["seconds"]["median"] / 1e9
    assert ours["gflops"] == pytest.approx(rate)
    used = LAYER.used_flops(32) / LAYER.flops(32)
    assert used == (16 * 3 - 2) ** 2 / (16 * 3) ** 2
    assert ours["used_gflops"] == pytest.approx(used * rate)
    assert ours["used_of_fma"] == pytest.approx(used * ours["of_fma"])
    fma = content["limits"]["FMA float32, GFLOP/s"]
    assert ours["of_fma"] == pytest.approx(rate / fma)
    back = rows["adaconv", "backward"]
    assert back["gflops"] == pytest.approx(2 * LAYER.flops(32) / back["seconds"]["median"] / 1e9)
    assert ours["seconds"]["median"] > rows["adaconv", "forward"]["seconds"]["median"]
    assert rows["eager-tuned", "forward"]["speedup"]["pairs"] > 0
    assert all(row["green"] for row in content["rows"])


def test_threads_are_put_back(tiny, no_processes):
    torch.set_num_threads(2)
    assert run(preset=tiny, threads=1, repeats=1) == 0
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize("formula", [one_percent_off, gradient_one_percent_off])
def test_a_wrong_adaconv_is_not_timed_and_fails(
    formula, tiny, no_processes, monkeypatch, tmp_path, capsys
):
    monkeypatch.setattr(runner, "adaconv_provider", lambda backend: provider(formula))
    assert run(preset=tiny, repeats=1, json=tmp_path / "out.json") == 1
    content = json.loads((tmp_path / "out.json").read_text())
    assert content["green"] is False
    assert [row["seconds"] for row in content["rows"]] == [None] * 6
    assert [row["speedup"] for row in content["rows"]] == [None] * 6
    assert "adaconv: red:" in capsys.readouterr().out


def test_a_wrong_comparison_has_no_ratio_and_fails(tiny, no_processes, monkeypatch, tmp_path):
    monkeypatch.setitem(adaptive_conv.PROVIDERS, "wrong", provider(one_percent_off, "wrong"))
    out = tmp_path / "out.json"
    assert run(preset=tiny, against=["wrong", "eager"], repeats=1, json=out) == 1
    for row in json.loads(out.read_text())["rows"]:
        assert (row["speedup"] is not None) == (row["provider"] == "eager")


def test_a_comparison_that_cannot_run_is_reported_with_its_cause(
    tiny, no_processes, monkeypatch, capsys
):
    broken = Provider("compile", cannot_start)
    monkeypatch.setitem(adaptive_conv.PROVIDERS, "compile", broken)
    assert run(preset=tiny, against=["compile", "eager"], repeats=1) == 0
    text = capsys.readouterr().out
    assert "T1, compile cannot run: FileNotFoundError: no compiler called g++" in text
    assert "second line" not in text
    assert "times faster than eager" in text


def test_the_backend_that_is_named_is_the_one_measured(tiny, no_processes, monkeypatch):
    seen = []
    specification = adaconv.reference.adaptive_conv.adaptive_conv2d

    def counted(*arguments):
        seen.append(arguments[0].dtype)
        return specification(*arguments)

    monkeypatch.setattr(adaconv.reference.adaptive_conv, "adaptive_conv2d", counted)
    run(preset=tiny, against=[], backend="reference", repeats=2)
    assert seen.count(torch.float64) == 2  # the specification itself
    # two checks, the step at full size, two rounds, and two steps for the memory
    assert seen.count(torch.float32) == 7


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_compared_with_its_peers_and_with_its_own_float32(
    dtype, tiny, no_processes, tmp_path
):
    out = tmp_path / "out.json"
    code = run(preset=tiny, dtype=["float32", dtype], repeats=2, json=out)
    content = json.loads(out.read_text())
    assert code == 0, content
    assert content["machine"]["dtype"] == f"float32, {dtype}"
    providers = {(row["dtype"], row["provider"]) for row in content["rows"]}
    expected = {("float32", "adaconv"), ("float32", "eager"), (dtype, "adaconv")}
    assert providers == expected | {(dtype, "adaconv-float32"), (dtype, "eager")}
    for row in content["rows"]:
        assert (row["speedup"] is None) == (row["provider"] == "adaconv")
        assert row["dtype"] != dtype or "integer y" not in row["verdict"]["errors"]


@pytest.mark.parametrize("formula", [one_percent_off, gradient_one_percent_off, one_tap_short])
def test_a_wrong_half_precision_is_red(formula, tiny, no_processes, monkeypatch, tmp_path):
    monkeypatch.setattr(runner, "adaconv_provider", lambda backend: provider(formula))
    out = tmp_path / "out.json"
    assert run(preset=tiny, dtype=["bfloat16"], repeats=1, json=out) == 1


def test_a_sweep_puts_each_case_beside_the_nearest(monkeypatch, no_processes, tmp_path, capsys):
    places = {LAYER.name: Place("C_in", "8", 4, replace(LAYER, name="T2"))}
    preset = Preset("a sweep", 2, (LAYER,), places)
    monkeypatch.setitem(adaptive_conv.PRESETS, "tiny", preset)
    out = tmp_path / "out.json"
    assert run(preset="tiny", against=["limit"], repeats=3, json=out) == 0
    rows = json.loads(out.read_text())["rows"]
    assert [row["direction"] for row in rows] == ["forward", "backward", "forward+backward"]
    for row in rows:
        assert (row["dimension"], row["value"], row["nearest"]) == ("C_in", "8", "T2")
        assert row["batch"] == 4
        assert row["of_nearest"] > 0
    text = capsys.readouterr().out
    assert "nearest tuned shape" in text or "cliff: T1" in text


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"op": "adaptive"}, "no operator to benchmark"),
        ({"preset": "quik"}, "did you mean 'quick'"),
        ({"against": ["limits"]}, "did you mean 'limit'"),
        ({"backend": "gpu"}, "no backend is called 'gpu'"),
        ({"dtype": ["bfloat"]}, "did you mean 'bfloat16'"),
        ({"dtype": []}, "dtype must name one of"),
        ({"batch": 0}, "batch must be at least 1, got 0"),
        ({"threads": -1}, "threads must be at least 1, got -1"),
        ({"repeats": 0}, "repeats must be at least 1, got 0"),
        ({"seconds": 0.0}, "seconds must be positive, got 0.0"),
    ],
)
def test_wrong_usage_is_found_before_anything_runs(wrong, message, monkeypatch):
    monkeypatch.setattr(runner, "run_race", lambda *_: pytest.fail("a race was run"))
    with pytest.raises(ValueError, match=message):
        run(**wrong)


@pytest.mark.parametrize("output", ["json", "csv", "plot"])
def test_a_folder_is_no_file_to_write_to(output, tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "run_race", lambda *_: pytest.fail("a race was run"))
    with pytest.raises(ValueError, match="got the folder"):
        run(**{output: tmp_path})
