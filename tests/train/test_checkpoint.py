import pickle
from pathlib import Path

import pytest
import torch

from adaconv import models
from adaconv.train import Checkpoint, CheckpointError
from adaconv.train.files import replacing


@pytest.fixture
def gan():
    return models.create("adagan-1-3x3", image_size=8, width=0.05)


@pytest.fixture
def path(gan, tmp_path):
    Checkpoint(gan.config, gan.state_dict(), step=7, run={"seed": 3}).save(tmp_path / "a.pt")
    return tmp_path / "a.pt"


def test_round_trip(gan, path):
    loaded = Checkpoint.load(path)
    assert (loaded.model, loaded.step, loaded.run) == (gan.config, 7, {"seed": 3})
    latent = gan.latent(2)
    again = loaded.create()
    assert torch.equal(again.generator(latent), gan.generator(latent))


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="no checkpoint at"):
        Checkpoint.load(tmp_path / "a.pt")


def test_truncated_file(path):
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(CheckpointError, match=r"a\.pt is damaged or no checkpoint"):
        Checkpoint.load(path)


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n" + bytes(100), b"hello"])
def test_other_files(tmp_path, content):
    (tmp_path / "a.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match="is damaged or no checkpoint"):
        Checkpoint.load(tmp_path / "a.pt")


class Bomb:
    def __reduce__(self):
        return pytest.fail, ("code in the file was run",)


def plain_pickle(content: object, path: Path) -> None:
    path.write_bytes(pickle.dumps(content, protocol=2))


@pytest.mark.parametrize("save", [torch.save, plain_pickle])
def test_code_in_a_file_is_not_run(tmp_path, save):
    save({"format": Bomb()}, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match="is damaged or no checkpoint"):
        Checkpoint.load(tmp_path / "a.pt")


@pytest.mark.parametrize("content", [{"weight": torch.zeros(2)}, [1, 2], torch.zeros(3)])
def test_foreign_torch_files(tmp_path, content):
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match="is not a checkpoint of adaconv"):
        Checkpoint.load(tmp_path / "a.pt")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "has version 2, this adaconv reads 1"),
        ({"step": None}, r"must have the entries \[.*'step'"),
    ],
)
def test_other_versions(path, change, message):
    content = torch.load(path, weights_only=True) | change
    torch.save({k: v for k, v in content.items() if v is not None}, path)
    with pytest.raises(CheckpointError, match=message):
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
    with pytest.raises((AttributeError, pickle.PicklingError)):
        Checkpoint(gan.config, gan.state_dict(), step=8, run={"x": lambda: 0}).save(path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_file_appears_only_when_complete(tmp_path):
    with replacing(tmp_path / "a") as file:
        file.write(b"new")
        assert not (tmp_path / "a").exists()
    assert (tmp_path / "a").read_bytes() == b"new"
