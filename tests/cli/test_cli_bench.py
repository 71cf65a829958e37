"""The commands that measure hand everything on."""

import inspect
import re
import sys
import types
from pathlib import Path

import pytest

from adaconv.cli import main


def test_bench_passes_everything_on(monkeypatch, capsys):
    calls = []
    fake = types.ModuleType("adaconv_bench")
    fake.run = lambda op, **options: calls.append((op, options)) or 1
    monkeypatch.setitem(sys.modules, "adaconv_bench", fake)
    assert main(["bench", "--quick"]) == 1
    assert calls[0][0] == "adaptive_conv"
    assert calls[0][1]["preset"] == "quick"
    line = "bench some_op --preset p --against eager limit --batch 3 --threads 2 --repeats 4"
    line += " --seconds 1.5 --backend reference --dtype bfloat16 float32 --json a.json"
    line += " --csv a.csv --plot a.png"
    assert main(line.split()) == 1
    expected = {
        "preset": "p",
        "against": ("eager", "limit"),
        "backend": "reference",
        "dtype": ("bfloat16", "float32"),
        "batch": 3,
        "threads": 2,
        "repeats": 4,
        "seconds": 1.5,
        "json": Path("a.json"),
        "csv": Path("a.csv"),
        "plot": Path("a.png"),
    }
    assert calls[1] == ("some_op", expected)


def test_bench_takes_what_is_passed_on():
    run = pytest.importorskip("adaconv_bench").run
    offered = set(inspect.signature(main.__globals__["bench"]).parameters) - {"quick"}
    assert offered == set(inspect.signature(run).parameters)


OTHERS = ["all", "cost", "locality", "train", "roofline", "static"]
BENCHES = ["bench", *(f"bench {name}" for name in OTHERS)]


@pytest.mark.parametrize("command", BENCHES)
def test_bench_without_its_package(command, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "adaconv_bench", None)
    assert main(command.split()) == 1
    assert re.search(r"pip install 'adaconv\[(train,)?bench\]'", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("command", "module", "given"),
    [
        ("all", "suite", {"against": "compile", "repeats": 2, "seconds": 0.5}),
        ("cost", "cost", {"channels": (4, 8), "memory_limit": 0.5, "plot": Path("a.png")}),
        ("locality", "locality", {"data": "cifar10", "pitch": (2, 3), "steps": 5}),
    ],
)
def test_bench_of_several_passes_everything_on(command, module, given, monkeypatch):
    benchmark = pytest.importorskip(f"adaconv_bench.{module}")
    offered = inspect.signature(main.__globals__[f"bench_{command}"]).parameters
    taken = inspect.signature(benchmark.run).parameters
    usual = {name: parameter.default for name, parameter in offered.items()}
    assert usual == {name: parameter.default for name, parameter in taken.items()}
    calls = []
    monkeypatch.setattr(benchmark, "run", lambda **options: calls.append(options) or 1)
    given = {"backend": "reference", "threads": 2, "json": Path("a.json"), **given}
    options = []
    for name, value in given.items():
        values = value if isinstance(value, tuple) else (value,)
        options += [f"--{name.replace('_', '-')}", *map(str, values)]
    assert main(["bench", command, *options]) == 1
    assert calls == [{**usual, **given}]


def test_bench_train_passes_everything_on(monkeypatch):
    training_run = pytest.importorskip("adaconv_bench.training_run")
    offered = set(inspect.signature(main.__globals__["bench_train"]).parameters)
    assert offered == set(inspect.signature(training_run.run).parameters)
    calls = []
    monkeypatch.setattr(
        training_run, "run", lambda model, **options: calls.append((model, options)) or 1
    )
    expected = {
        "against": "eager-tuned",
        "backend": "reference",
        "image_size": 16,
        "width": 0.5,
        "batch": 3,
        "threads": 2,
        "steps": 4,
        "seconds": 1.5,
        "json": Path("a.json"),
    }
    options = [f"--{name.replace('_', '-')}={value}" for name, value in expected.items()]
    assert main(["bench", "train", "--model", "adagan-5x5", *options]) == 1
    assert calls == [("adagan-5x5", expected)]


@pytest.mark.parametrize("name", ["static", "roofline"])
def test_bench_commands_take_what_is_passed_on(name):
    module = pytest.importorskip(f"adaconv_bench.{name}")
    offered = set(inspect.signature(main.__globals__[f"bench_{name}"]).parameters)
    assert offered == set(inspect.signature(module.run).parameters)
