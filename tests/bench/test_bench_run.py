import json

import pytest
import torch
from adaconv_bench import run, runner
from adaconv_bench.operators import adaptive_conv
from adaconv_bench.registry import Provider
from bench_cases import LAYER, cannot_start, gradient_one_percent_off, one_percent_off, provider

import adaconv


def test_from_a_preset_to_table_json_and_plot(tiny, no_processes, tmp_path, capsys):
    out, plot = tmp_path / "out.json", tmp_path / "plot.png"
    against = ["eager", "eager-tuned", "limit"]
    code = run(preset=tiny, against=against, threads=1, repeats=3, json=out, plot=plot)
    text = capsys.readouterr().out
    assert code == 0, text
    assert "gate: green" in text
    assert plot.read_bytes().startswith(b"\x89PNG\r\n")

    content = json.loads(out.read_text())
    assert content["machine"]["threads"] == 1
    assert content["machine"]["torch"] == torch.__version__
    assert content["limits"]["torch.mm, GFLOP/s"] > 1
    rows = {(row["provider"], row["direction"]): row for row in content["rows"]}
    assert len(rows) == len(content["rows"]) == 6
    ours, eager = rows["adaconv", "forward+backward"], rows["eager", "forward+backward"]
    assert ours["seconds"]["count"] == eager["seconds"]["count"] == 3
    expected = eager["seconds"]["median"] / ours["seconds"]["median"]
    assert eager["speedup"]["medians"] == pytest.approx(expected)
    assert ours["speedup"] is None
    rate = 3 * LAYER.flops(32) / ours["seconds"]["median"] / 1e9
    assert ours["gflops"] == pytest.approx(rate)
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
    assert [row["seconds"] for row in content["rows"]] == [None] * 4
    assert [row["speedup"] for row in content["rows"]] == [None] * 4
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


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"op": "adaptive"}, "no operator to benchmark"),
        ({"preset": "quik"}, "did you mean 'quick'"),
        ({"against": ["limits"]}, "did you mean 'limit'"),
        ({"backend": "gpu"}, "no backend is called 'gpu'"),
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


@pytest.mark.parametrize("output", ["json", "plot"])
def test_a_folder_is_no_file_to_write_to(output, tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "run_race", lambda *_: pytest.fail("a race was run"))
    with pytest.raises(ValueError, match="got the folder"):
        run(**{output: tmp_path})
