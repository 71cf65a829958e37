"""Signs of failure: each is seen where it was made, and not elsewhere."""

import io
import json

import pytest
import torch
from rich.console import Console

from adaconv import data, models
from adaconv.losses import LOSSES
from adaconv.train import TrainConfig, Trainer
from adaconv.train.diagnostics import Diagnostics

HEALTHY = {
    "diversity": 0.9,
    "discriminator_saturation": 0.2,
    "generator_saturation": 0.0,
    "generator_gradient": 0.1,
}


@pytest.fixture
def ring() -> data.PointData:
    return data.load("toy2d:ring", split="test")


def point_gan(spread: float) -> models.GAN:
    """A model whose samples are its latents times ``spread``, around (1, 0)."""
    gan = models.create("gan", width=0.05, points=True)
    gan.generator.forward = lambda latent: latent * spread + torch.tensor([1.0, 0.0])
    return gan


def test_a_collapse_is_seen_and_told_once(ring):
    healthy, collapsed = (Diagnostics(point_gan(s), ring, seed=0) for s in (1.0, 0.01))
    assert healthy.measure()["diversity"] > 0.8
    assert healthy.warnings(healthy.measure()) == []
    row = collapsed.measure()
    assert row["diversity"] < 0.02
    assert row["modes"] == 0
    (warning,) = collapsed.warnings(row)
    assert warning.startswith("collapse: samples differ 0.0")
    assert collapsed.warnings(row) == []  # told already
    assert collapsed.warnings(HEALTHY) == []
    assert collapsed.warnings(row) == [warning]


@pytest.mark.parametrize(
    ("measure", "value", "message"),
    [
        ("discriminator_saturation", 0.99, "saturation: the discriminator's loss is flat for 99"),
        ("generator_saturation", 0.97, "vanishing gradient: the generator's loss is flat for 97"),
        ("generator_gradient", 3e-8, "vanishing gradient: the generator's has norm 3.0e-08"),
    ],
)
def test_signs(measure, value, message, ring):
    watcher = Diagnostics(point_gan(1.0), ring, seed=0)
    assert watcher.warnings(HEALTHY) == []
    (warning,) = watcher.warnings({**HEALTHY, measure: value})
    assert warning.startswith(message)


#: loss → shares of flat samples of both sides, where the discriminator is sure of all it sees
SURE = {
    "non-saturating": (1.0, 0.0),
    "minimax": (1.0, 1.0),  # what "saturating" is about
    "hinge": (1.0, 0.0),
    "wasserstein": (0.0, 0.0),
    "least-squares": (0.0, 0.0),
}


@pytest.mark.parametrize("name", LOSSES)
def test_saturation_of_a_sure_discriminator(name):
    real, fake = torch.full((6,), 8.0), torch.full((4,), -8.0)
    found = LOSSES[name].saturation(real, fake)
    assert tuple(value.item() for value in found.values()) == SURE[name]
    unsure = LOSSES[name].saturation(torch.zeros(6), torch.zeros(4) + 0.1)
    assert all(value == 0 for value in unsure.values())


def test_saturation_counts_samples():
    # softplus is flat where its argument is below log(0.01 / 0.99) = -4.595
    real, fake = torch.tensor([4.5, 4.7, -9.0]), torch.tensor([-4.7])
    found = LOSSES["minimax"].saturation(real.requires_grad_(), fake)
    assert found["discriminator_saturation"].item() == pytest.approx(2 / 4)
    assert found["generator_saturation"].item() == 1
    assert real.grad is None


def test_in_the_log_and_on_the_terminal(ring, tmp_path):
    gan = models.create("gan", width=0.05, points=True)
    with torch.no_grad():
        for parameter in gan.generator.parameters():
            parameter.mul_(0.01)  # all samples near 0
    text = io.StringIO()
    config = TrainConfig(steps=4, log_every=2)
    before = torch.get_rng_state()
    trainer = Trainer(gan, ring, tmp_path / "run", config, Console(file=text, width=200))
    assert torch.equal(torch.get_rng_state(), before)
    trainer.run()
    assert text.getvalue().count("step 2: collapse: samples differ 0.0") == 1
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").open()]
    for row in rows:
        assert row["diversity"] < 0.1
        assert row["modes"] == row["quality"] == 0
        assert row["discriminator_gradient"] > 0
        assert 0 <= row["discriminator_saturation"] <= 1


def test_gradient_norms_are_those_of_the_parameters(trainer):
    run = trainer(steps=1, log_every=1)
    run.run()
    row = json.loads((run.out / "metrics.jsonl").read_text())
    for side in ("discriminator", "generator"):
        squares = sum(p.grad.square().sum() for p in getattr(run.gan, side).parameters())
        assert row[f"{side}_gradient"] == pytest.approx(squares.sqrt().item(), abs=2e-6)


def test_data_without_differences_have_no_diversity(tiny):
    values = torch.zeros(8, 3, 8, 8, dtype=torch.uint8)
    same = data.ImageData(name="same", split="train", licence="none", values=values)
    assert Diagnostics(tiny(), same, seed=0).measure() == {}
