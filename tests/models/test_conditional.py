"""Models with classes and codes: where they go, what they add to the losses, who refuses."""

import math

import pytest
import torch
import torch.nn.functional as F
from rich.console import Console
from systems import drawn, noise, small

from adaconv import data, losses, models
from adaconv.models._codes import Codes
from adaconv.train import TrainConfig, Trainer
from adaconv.train.sampling import evaluate


def test_codes_are_one_hot_and_uniform():
    codes = Codes((3, 4), 2)
    drawn = codes.draw(4000, generator=None, device="cpu", dtype=torch.float32)
    assert drawn.shape == (4000, codes.size) == (4000, 9)
    (three, four), continuous = codes.split(drawn)
    for part in (three, four):
        assert torch.equal(part.sum(1), torch.ones(4000))
        assert set(part.unique().tolist()) == {0, 1}
        assert part.mean(0).tolist() == pytest.approx([1 / part.shape[1]] * part.shape[1], abs=0.04)
    assert continuous.abs().max() <= 1
    assert continuous.std().item() == pytest.approx(1 / math.sqrt(3), abs=0.02)


def test_pictures_have_a_class_in_each_column():
    gan = small("infogan as for SVHN")
    latent = gan.shown_latent(25, torch.Generator().manual_seed(3))
    assert latent.shape == (25, 124 + 40 + 4)
    assert latent[:, 124:134].argmax(1).tolist() == [*range(10), *range(10), *range(5)]
    rest = torch.cat([latent[:, :124], latent[:, 134:]], 1)
    assert len(rest.unique(dim=0)) == 3
    assert gan.columns == 10


def test_both_networks_of_cgan_see_the_class():
    gan = small("cgan").eval()
    latent = gan.latent(3)
    other = torch.cat([latent[:, :100], latent[:, 100:].roll(1, 1)], 1)
    assert not torch.equal(gan.generator(latent), gan.generator(other))
    batch = drawn(gan, 3)
    images, classes = gan.show_real(batch).samples
    assert torch.equal(images, batch.values)
    assert classes.argmax(1).tolist() == batch.labels.tolist()
    swapped = gan.discriminator((images, classes.roll(1, 1)))
    assert not torch.equal(gan.discriminator((images, classes)), swapped)
    images, classes = gan.show_fake(latent).samples
    assert torch.equal(classes, latent[:, 100:])


def found_in(gan, latent):
    """The trunk's features of generated images, and their logits."""
    fake = gan.generator(latent)
    return gan.discriminator.layers(fake), gan.discriminator(fake)


def test_acgan_adds_the_cross_entropy_of_the_classes():
    gan = small("acgan").eval()
    latent, batch = gan.latent(4), drawn(gan, 4)
    features, logits = found_in(gan, latent)
    classifier = gan.discriminator.classifier
    own = F.cross_entropy(classifier(features), latent[:, 100:].argmax(1))
    torch.testing.assert_close(
        gan.generator_loss(latent), losses.non_saturating_generator(logits) + own
    )
    of_real = classifier(gan.discriminator.layers(batch.values))
    expected = losses.non_saturating_discriminator(gan.discriminator(batch.values), logits)
    expected = expected + own + F.cross_entropy(of_real, batch.labels)
    torch.testing.assert_close(gan.discriminator_loss(batch, latent), expected)
    accuracy = (of_real.argmax(1) == batch.labels).float().mean()
    assert gan.observed["class_accuracy"] == accuracy


def test_infogan_adds_the_information_of_the_codes():
    torch.manual_seed(0)
    gan = models.create("infogan", 8, width=0.05, weight=0.5).eval()
    latent, real = gan.latent(4), drawn(gan, 4)
    features, logits = found_in(gan, latent)
    found = gan.discriminator.recogniser(features)
    information = losses.categorical_information(found[:, :10], latent[:, 62:72].argmax(1))
    information = information + losses.gaussian_information(
        found[:, 10:], torch.zeros(()), latent[:, 72:]
    )
    expected = losses.non_saturating_generator(logits) - information / 2
    torch.testing.assert_close(gan.generator_loss(latent), expected)
    torch.testing.assert_close(gan.observed["information"], information.detach())
    expected = losses.non_saturating_discriminator(gan.discriminator(real), logits)
    loss = gan.discriminator_loss(real, latent)
    torch.testing.assert_close(loss, expected - information / 2)
    loss.backward()
    assert gan.discriminator.recogniser[0].weight.grad.abs().sum() > 0
    rates = {side: o.param_groups[0]["lr"] for side, o in gan.optimizers().items()}
    assert rates == {"discriminator": 2e-4, "generator": 1e-3}


def test_the_semi_supervised_logit_is_that_of_all_classes():
    gan = small("improved-gan").eval()
    batch, latent = drawn(gan, 4), gan.latent(4)
    class_logits = gan.discriminator.classify(batch.values)
    assert class_logits.shape == (4, 10)
    with_fake = torch.cat([class_logits, torch.zeros(4, 1)], 1)
    real_probability = 1 - with_fake.softmax(1)[:, -1]
    logits = gan.discriminator(batch.values)
    torch.testing.assert_close(logits.sigmoid(), real_probability)
    torch.manual_seed(5)
    loss = gan.discriminator_loss(batch, latent)
    torch.manual_seed(5)
    subset = gan.tricks[0]
    rows = torch.randint(20, (4,))
    images = subset.images[rows].float() / 127.5 - 1
    expected = F.cross_entropy(gan.discriminator.classify(images), subset.labels[rows])
    adversarial = losses.non_saturating_discriminator(
        logits, gan.discriminator(gan.generator(latent))
    )
    torch.testing.assert_close(loss, 2 * expected + adversarial)


def test_the_subset_has_the_first_of_each_class():
    gan = small("improved-gan")
    dataset = noise(gan)
    gan.prepare(dataset)
    subset = gan.tricks[0]
    assert subset.labels.tolist() == [label for label in range(10) for _ in range(2)]
    rows = [row for label in range(10) for row in (label, label + 10)]
    assert torch.equal(subset.images, dataset.values[rows])


def trainer(gan, dataset, out, test=None, **settings):
    config = TrainConfig(steps=2, batch_size=4, samples=4, backend="reference", **settings)
    return Trainer(gan, dataset, out, config, Console(quiet=True), test=test)


def test_accuracy_is_reported_and_a_classifier_alone_is_trained_on_the_subset(tmp_path):
    options = {"labels_per_class": 2, "supervised": True}
    gan = models.create("improved-gan", 16, width=0.05, **options)
    before = gan.generator.layers[1].weight.clone()
    run = trainer(gan, noise(gan), tmp_path / "run", noise(gan, 70))
    run.run()
    row = run.metrics.path.read_text().splitlines()[-1]
    for name in ("discriminator_loss", "labelled_accuracy", "test_accuracy"):
        assert f'"{name}"' in row
    assert "generator_loss" not in row
    assert torch.equal(gan.generator.layers[1].weight, before)


def test_evaluation_is_the_share_over_all_items():
    gan = small("improved-gan")
    dataset = noise(gan, 70)
    gan.eval()
    images = torch.stack([dataset[i] for i in range(70)])
    expected = (gan.discriminator.classify(images).argmax(1) == dataset.labels).float().mean()
    gan.train()
    assert evaluate(gan, dataset)["test_accuracy"] == pytest.approx(expected.item())
    assert gan.training


def unlabelled(gan):
    return data.ImageData("mine", "train", "none", noise(gan).values)


@pytest.mark.parametrize("system", ["cgan", "acgan", "improved-gan"])
def test_labels_are_checked_before_training(system, tmp_path):
    gan = small(system)
    with pytest.raises(
        ValueError, match=r"needs data with labels, mine has none.*cifar10, fashion"
    ):
        trainer(gan, unlabelled(gan), tmp_path / "run")
    few = data.ImageData("few", "train", "none", noise(gan).values, noise(gan).labels, ["a", "b"])
    with pytest.raises(ValueError, match=f"{system} is made for 10 classes, few has 2"):
        trainer(gan, few, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_more_labels_than_there_are(tmp_path):
    gan = models.create("improved-gan", 16, width=0.05, labels_per_class=5)
    with pytest.raises(ValueError, match="at most 4, as many as noise has of its class '0', got 5"):
        trainer(gan, noise(gan), tmp_path / "run")


def test_ali_takes_each_pair_for_the_other(tmp_path):
    gan = small("ali").eval()
    real, latent = drawn(gan, 3), gan.latent(3)
    torch.manual_seed(1)
    mean, log_std = gan.encoder(real)
    inferred = mean + log_std.exp() * torch.randn(3, 64)
    of_real = gan.discriminator((real, inferred))
    of_fake = gan.discriminator((gan.generator(latent), latent))
    torch.manual_seed(1)
    loss = gan.generator_loss(latent, real)
    torch.testing.assert_close(loss, F.softplus(of_real).mean() + F.softplus(-of_fake).mean())
    loss.backward()
    assert gan.encoder.layers[0].weight.grad.abs().sum() > 0
    assert gan.discriminator.head.weight.grad is None
    torch.manual_seed(1)
    loss = gan.discriminator_loss(real, latent)
    torch.testing.assert_close(loss, losses.non_saturating_discriminator(of_real, of_fake))
    run = trainer(gan.train(), noise(gan), tmp_path / "run")
    run.run()
    for name in ("samples", "reconstructions"):
        assert (run.out / f"{name}.png").read_bytes() == (
            run.out / name / "000002.png"
        ).read_bytes()
