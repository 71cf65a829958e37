import pickle

import pytest
import torch
from safetensors.torch import save_file

from adaconv import models
from adaconv.train import Checkpoint, CheckpointError, checkpoint
from adaconv.train.files import replacing


@pytest.fixture
def gan():
    return models.create("adagan-1-3x3", image_size=8, width=0.05)


@pytest.fixture
def path(gan, tmp_path):
    Checkpoint(gan.config, gan.state_dict(), step=7, run={"seed": 3}).save(
        tmp_path / "a.safetensors"
    )
    return tmp_path / "a.safetensors"


def test_round_trip(gan, path):
    loaded = Checkpoint.load(path)
    assert (loaded.model, loaded.step, loaded.run) == (gan.config, 7, {"seed": 3})
    latent = gan.latent(2)
    again = loaded.create()
    assert torch.equal(again.generator(latent), gan.generator(latent))


def test_every_kind_of_value_comes_back(gan, tmp_path):
    shared = torch.arange(12.0).reshape(3, 4)
    state = {
        "shared": [shared, shared, shared[:, 1], shared.T],
        "dtypes": {str(d): torch.ones(2, dtype=d) for d in (torch.bfloat16, torch.uint8)},
        "numbers": {0: 1 / 3, 7: float("inf"), "7": 2**70},
        "others": [None, True, "ö", [], {}, torch.tensor(True), torch.empty(0, 2)],
    }
    Checkpoint(gan.config, {}, step=1, optimizers=state).save(tmp_path / "a")
    loaded = Checkpoint.load(tmp_path / "a").optimizers
    assert repr(loaded) == repr(state)  # types, order, and all digits of so few values
    loaded["shared"][0].zero_()
    assert loaded["shared"][1].sum() == 66


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="no checkpoint at"):
        Checkpoint.load(tmp_path / "a.safetensors")


def test_truncated_file(path):
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(CheckpointError, match=r"a\.safetensors is damaged or no checkpoint"):
        Checkpoint.load(path)


@pytest.mark.parametrize("place", [0.1, 0.5, 0.9, -1])
def test_changed_bytes(path, place):
    content = bytearray(path.read_bytes())
    content[place if place < 0 else int(place * len(content))] ^= 4
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"a\.safetensors is damaged"):
        Checkpoint.load(path)


class Bomb:
    def __reduce__(self):
        return pytest.fail, ("code in the file was run",)


@pytest.mark.parametrize(
    "content", [b"", b"\x89PNG\r\n\x1a\n" + bytes(100), b"hello", pickle.dumps(Bomb(), protocol=2)]
)
def test_other_files(tmp_path, content):
    (tmp_path / "a.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match="is damaged or no checkpoint"):
        Checkpoint.load(tmp_path / "a.safetensors")


def test_code_in_a_file_is_not_run(tmp_path):
    torch.save({"format": Bomb()}, tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match="is damaged or no checkpoint"):
        Checkpoint.load(tmp_path / "a.safetensors")


@pytest.mark.parametrize("about", [None, {"format": "pt"}])
def test_foreign_tensors(tmp_path, about):
    save_file({"weight": torch.zeros(2)}, tmp_path / "a.safetensors", about)
    with pytest.raises(CheckpointError, match="is not a checkpoint of adaconv"):
        Checkpoint.load(tmp_path / "a.safetensors")


def test_another_version(gan, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "VERSION", "3")
    Checkpoint(gan.config, gan.state_dict(), step=7).save(tmp_path / "a.safetensors")
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match="has version 3, this adaconv reads 2"):
        Checkpoint.load(tmp_path / "a.safetensors")


def test_other_entries(path, monkeypatch):
    fields = checkpoint.fields
    monkeypatch.setattr(checkpoint, "fields", lambda kind: fields(kind)[1:])
    with pytest.raises(CheckpointError, match=r"must have the entries \[.*'step'.*got \['average'"):
        Checkpoint.load(path)


def test_checkpoint_of_another_model(path):
    other = models.create("baseline", image_size=8, width=0.05)
    before = {k: v.clone() for k, v in other.state_dict().items()}
    with pytest.raises(CheckpointError, match=r"holds adagan-1-3x3\(.*expected baseline\("):
        Checkpoint.load(path).restore(other)
    assert all(torch.equal(v, before[k]) for k, v in other.state_dict().items())


def test_weights_that_do_not_fit(gan):
    networks = {k: v for k, v in gan.state_dict().items() if "dense" not in k}
    with pytest.raises(CheckpointError, match="does not fit adagan-1-3x3"):
        Checkpoint(gan.config, networks, step=1).restore(gan)


def test_failed_save_keeps_the_former_file(path, gan):
    before = path.read_bytes()
    with pytest.raises(TypeError, match="run/x must be a tensor or a plain value, got <function"):
        Checkpoint(gan.config, gan.state_dict(), step=8, run={"x": lambda: 0}).save(path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_file_appears_only_when_complete(tmp_path):
    with replacing(tmp_path / "a") as file:
        file.write(b"new")
        assert not (tmp_path / "a").exists()
    assert (tmp_path / "a").read_bytes() == b"new"
