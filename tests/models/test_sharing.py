"""A shared model is the model, to the bit; nothing here asks the network."""

import json
import subprocess
import sys

import pytest
import torch
from systems import noise, small

from adaconv.models import GAN
from adaconv.models.dcgan import DCGAN


@pytest.fixture
def hub(monkeypatch):
    """Stand in for the Hub: keep what is uploaded."""
    mixin = pytest.importorskip("huggingface_hub.hub_mixin")
    uploaded = {}

    class Hub:
        def __init__(self, token):
            self.token = token

        def create_repo(self, repo_id, **options):
            return type("Url", (), {"repo_id": repo_id})

        def upload_folder(self, repo_id, folder_path, **options):
            uploaded[repo_id] = {p.name: p.read_bytes() for p in folder_path.iterdir()}
            return f"commit of {repo_id}"

    monkeypatch.setattr(mixin, "HfApi", Hub)
    return uploaded


@pytest.mark.parametrize(
    "system", ["adagan-3x3", "infogan", "improved-gan", "dcgan with all tricks", "gan on points"]
)
def test_a_folder_holds_the_model(system, tmp_path):
    pytest.importorskip("huggingface_hub")
    gan = small(system)
    gan.save_pretrained(tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"model.safetensors", "config.json", "README.md"}
    assert json.loads((tmp_path / "config.json").read_text()) == gan.config
    again = GAN.from_pretrained(tmp_path)
    assert type(again) is type(gan)
    assert again.config == gan.config
    expected = gan.state_dict()
    assert list(again.state_dict()) == list(expected)
    assert all(torch.equal(v, expected[k]) for k, v in again.state_dict().items())
    latent = gan.latent(3)
    assert torch.equal(again.generator(latent), gan.eval().generator(latent))
    again.prepare(noise(again))  # it can be trained


def test_the_hub_gets_the_folder(hub, tmp_path):
    gan = small("gan on points")
    assert gan.push_to_hub("user/points") == "commit of user/points"
    gan.save_pretrained(tmp_path)
    assert hub["user/points"] == {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    card = hub["user/points"]["README.md"].decode()
    assert "library_name: adaconv" in card
    assert "points of the plane" in card
    count = sum(parameter.numel() for parameter in gan.generator.parameters())
    assert f"The generator has {count:,} parameters." in card
    assert "nothing is known of the training" in card


def test_other_folders_are_refused(tmp_path):
    pytest.importorskip("huggingface_hub")
    small("gan").save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="holds a MLPGAN, expected a DCGAN"):
        DCGAN.from_pretrained(tmp_path)
    weights, config = tmp_path / "model.safetensors", tmp_path / "config.json"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="does not hold the weights of gan"):
        GAN.from_pretrained(tmp_path)
    weights.write_bytes(whole)
    wider = json.loads(config.read_text()) | {"width": 0.5}
    config.write_text(json.dumps(wider))
    with pytest.raises(ValueError, match="does not hold the weights of gan"):
        GAN.from_pretrained(tmp_path)
    config.write_text('{"layers": 3}')
    with pytest.raises(ValueError, match=r"no config\.json that names a model of adaconv"):
        GAN.from_pretrained(tmp_path)


def test_models_need_no_package_for_sharing():
    code = (
        "import sys; sys.modules['huggingface_hub'] = None\n"
        "from adaconv import models\n"
        "gan = models.create('gan', 8, width=0.05)\n"
        "for share in (gan.save_pretrained, gan.push_to_hub, models.GAN.from_pretrained):\n"
        "    try: share('folder')\n"
        "    except ModuleNotFoundError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.count("pip install 'adaconv[hub]'") == 3
