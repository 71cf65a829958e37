"""The tricks for any model: what they add, in closed form, and who cannot take them."""

import pytest
import torch
from torch import nn

from adaconv import losses, models
from adaconv.models._improved import ClosenessHead
from adaconv.models._switches import switch_on
from adaconv.nn import MinibatchDiscrimination, VirtualBatchNorm2d


def dcgan(*tricks):
    torch.manual_seed(0)
    return models.create("dcgan", 8, width=0.05, tricks=tricks)


REAL = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(1)) * 2 - 1


def features(gan, samples):
    return gan.discriminator.layers(samples)


def test_feature_matching_is_the_generators_whole_loss():
    gan = dcgan("feature-matching")
    latent = gan.latent(6)
    found = gan.generator_loss(latent, REAL)
    expected = losses.feature_matching(features(gan, REAL), features(gan, gan.generator(latent)))
    torch.testing.assert_close(found, expected)
    found.backward()
    assert gan.generator.layers[1].weight.grad.abs().sum() > 0
    assert all(p.grad is None for p in gan.discriminator.parameters())
    assert gan.data_sides == {"discriminator", "generator"}
    with pytest.raises(ValueError, match="compares with real samples, got none"):
        gan.generator_loss(latent)


@pytest.mark.parametrize(
    ("spec", "targets"), [("", (0.9, 0)), (":0.8", (0.8, 0)), (":0.7:0.2", (0.7, 0.2))]
)
def test_label_smoothing_has_other_targets(spec, targets):
    gan = dcgan(f"label-smoothing{spec}")
    latent = gan.latent(6)
    logits = gan.discriminator(REAL), gan.discriminator(gan.generator(latent))
    expected = losses.smoothed_discriminator(*logits, *targets)
    torch.testing.assert_close(gan.discriminator_loss(REAL, latent), expected)
    assert models.create(**gan.config).config == gan.config


def test_historical_averaging_pulls_to_the_mean_of_all_steps():
    plain, gan = dcgan(), dcgan("historical-averaging:0.5")
    latent = gan.latent(6)
    past = {side: [vector(getattr(gan, side))] for side in gan.sides}
    for side in gan.sides:
        assert distance(plain, gan, side, latent) == pytest.approx(0, abs=1e-5)
    for _ in range(3):
        for side in gan.sides:
            network = getattr(gan, side)
            with torch.no_grad():
                for parameter in network.parameters():
                    parameter.add_(0.1 * torch.randn_like(parameter))
            gan.after_update(side)
            past[side].append(vector(network))
    plain.load_state_dict(gan.state_dict(), strict=False)
    for side in gan.sides:
        mean = torch.stack(past[side]).mean(0)
        expected = 0.5 * (past[side][-1] - mean).square().sum().item()
        assert distance(plain, gan, side, latent) == pytest.approx(expected, rel=1e-4)


def vector(network):
    return nn.utils.parameters_to_vector(network.parameters()).detach().clone()


def distance(plain, gan, side, latent):
    """How much the loss grows by the trick."""
    given = {"latent": latent} | ({"real": REAL} if side == "discriminator" else {})
    with_trick, without = (getattr(model, f"{side}_loss")(**given) for model in (gan, plain))
    return (with_trick - without).item()


def test_minibatch_discrimination_is_a_dense_layer_of_features_and_closeness():
    gan = dcgan("minibatch-discrimination:7:3")
    head = gan.discriminator.head
    assert isinstance(head, ClosenessHead)
    assert torch.equal(gan.discriminator(REAL), head.head(features(gan, REAL)).flatten())
    nn.init.normal_(head.weight)
    f = features(gan, REAL).flatten(1)
    both = torch.cat([f, head.closeness(f)[:, -7:]], 1)
    weight = torch.cat([head.head.weight.flatten(1), head.weight], 1)
    torch.testing.assert_close(gan.discriminator(REAL), (both @ weight.T).flatten())
    assert head.closeness.weight.shape == (f.shape[1], 7, 3)
    gan.discriminator_loss(REAL, gan.latent(6)).backward()
    assert head.closeness.weight.grad.abs().sum() > 0


def test_virtual_batch_norm_makes_each_sample_on_its_own():
    plain, gan = dcgan(), dcgan("virtual-batch-norm")
    latent = gan.latent(4)
    for model, alone in ((plain, False), (gan, True)):
        together, first = model.generator(latent), model.generator(latent[:2])
        assert torch.allclose(together[:2], first, atol=1e-6) == alone
    kinds = [type(m) for m in gan.generator.modules()]
    assert kinds.count(VirtualBatchNorm2d) == 1
    assert nn.BatchNorm2d not in kinds
    assert len(gan.generator.reference_batch) == gan.batch_size


def test_order_does_not_matter():
    specs = ["historical-averaging", "minibatch-discrimination:4:2", "label-smoothing"]
    one, other = dcgan(*specs), dcgan(*reversed(specs))
    assert one.config == other.config
    assert one.config["tricks"] == [specs[1], specs[2], specs[0]]
    assert one.state_dict().keys() == other.state_dict().keys()
    assert any(isinstance(m, MinibatchDiscrimination) for m in one.modules())


@pytest.mark.parametrize(
    ("name", "trick", "message"),
    [
        ("dcgan", "feature-maching", "'feature-maching'; did you mean 'feature-matching'"),
        ("dcgan", "label-smoothing:2", r"alpha must lie in \[0, 1\], got 2.0"),
        ("dcgan", "label-smoothing:a", "given as label-smoothing:ALPHA:BETA, got 'label-"),
        ("dcgan", "feature-matching:1", "given as feature-matching, got .* too many values"),
        ("dcgan", "historical-averaging:0", "weight must be positive, got 0.0"),
        ("gan", "virtual-batch-norm", "gan cannot take the trick virtual-batch-norm: its gener"),
        ("wgan", "label-smoothing", "label-smoothing: its loss has no targets .* minimax have"),
        ("wgan-gp", "minibatch-discrimination", "needs a discriminator that judges one by one"),
        ("improved-gan", "feature-matching", "the trick feature-matching: it has it already"),
    ],
)
def test_refuses_what_a_model_cannot_take(name, trick, message):
    with pytest.raises(ValueError, match=message):
        models.create(name, 16, width=0.05, tricks=[trick])


def test_a_discriminator_without_a_head_has_no_features():
    gan = dcgan()
    judged = gan.judge(gan.show_real(REAL))
    assert torch.equal(judged.features, features(gan, REAL))
    assert torch.equal(judged.logits, gan.discriminator(REAL))
    gan.discriminator = nn.Sequential(nn.Flatten(), nn.Linear(192, 1), nn.Flatten(0))
    judged = gan.judge(gan.show_real(REAL))
    assert judged.features is REAL
    with pytest.raises(
        ValueError, match=r"dcgan cannot take .*: its discriminator has no last layer"
    ):
        switch_on(gan, ["minibatch-discrimination"])
