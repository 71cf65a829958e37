"""AdaGAN, its baseline and their discriminator: sizes, composition, losses and gradients."""

import json

import pytest
import torch
from torch import nn

from adaconv import losses, models
from adaconv.models.adagan import AdaGANGenerator
from adaconv.models.sngan import SNGANDiscriminator
from adaconv.nn import AdaConvBlock


def count(network):
    return sum(p.numel() for p in network.parameters())


def small(name="adagan-3x3", image_size=16, **options):
    torch.manual_seed(0)
    return models.create(name, image_size, width=0.05, **options)


@pytest.mark.parametrize(
    ("options", "image_size", "expected"),
    [
        ({"adaptive": 0}, 32, 361_731),
        ({}, 32, 11_232_291),
        ({"adaptive_kernel_size": 5}, 32, 11_408_931),
        ({}, 48, 11_562_531),
        ({"adaptive_kernel_size": 5}, 48, 11_739_171),
        ({"adaptive_kernel_size": 7}, 48, 12_004_131),
    ],
)
def test_generator_parameter_count(options, image_size, expected):
    with torch.device("meta"):
        assert count(AdaGANGenerator(image_size, **options)) == expected


@pytest.mark.parametrize(
    ("wide", "image_size", "expected"),
    [
        (False, 32, 2_935_873),
        (False, 48, 2_946_113),
        (True, 32, 5_860_865),
        (True, 48, 5_871_105),
    ],
)
def test_discriminator_parameter_count(wide, image_size, expected):
    with torch.device("meta"):
        assert count(SNGANDiscriminator(image_size, wide=wide)) == expected


@pytest.mark.parametrize(
    ("name", "adaptive"),
    [
        ("baseline", []),
        ("adagan-1-3x3", [0]),
        ("adagan-2-5x5", [0, 1]),
        ("adagan-3-1x1", [0, 1, 2]),
        ("adagan-7x7", [0, 1, 2, 3]),
    ],
)
def test_first_convolutions_are_adaptive(name, adaptive):
    stages = small(name).generator.stages
    blocks = {i: s.conv for i, s in enumerate(stages) if isinstance(s.conv, AdaConvBlock)}
    assert list(blocks) == adaptive
    for index, block in blocks.items():
        side = int(name[-1])
        assert block.adaptive_kernel_size == (side, side)
        assert block.kernel_size == (3, 3)
        assert block.upsample == (1 if index == 3 else 2)
    assert [type(s.activation) for s in stages] == [nn.ReLU, nn.ReLU, nn.ReLU, nn.Tanh]


def test_block_options_reach_every_block():
    gan = small(regressor="full", negative_slope=0.25)
    blocks = [m for m in gan.modules() if isinstance(m, AdaConvBlock)]
    assert [(b.regressor, b.negative_slope) for b in blocks] == [("full", 0.25)] * 4


@pytest.mark.parametrize("name", ["baseline", "adagan-2-3x3"])
@pytest.mark.parametrize("image_size", [8, 24])
def test_images_and_logits(name, image_size):
    gan = small(name, image_size)
    images = gan.generator(gan.latent(3))
    assert images.shape == (3, 3, image_size, image_size)
    assert images.abs().max() <= 1
    assert images.std() > 0
    assert gan.discriminator(images).shape == (3,)


def test_baseline_is_the_same_network_with_plain_convolutions():
    """Ordinary convolutions that are written by hand from the generator's parameters."""
    gan = small("baseline").eval()
    z = gan.latent(2)
    g = gan.generator
    x = nn.functional.linear(z, g.dense.weight, g.dense.bias).view(2, -1, 2, 2)
    for index, stage in enumerate(g.stages):
        if index < 3:
            x = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
        x = nn.functional.conv2d(x, stage.conv.weight, stage.conv.bias, padding=1)
        x = torch.tanh(x) if index == 3 else torch.relu(x / (1 + 1e-5) ** 0.5)
    torch.testing.assert_close(g(z), x)


@pytest.mark.parametrize("name", ["baseline", "adagan-3x3"])
def test_initial_weights_are_truncated_normal(name):
    gan = models.create(name, 8, width=0.25)
    for key, parameter in gan.named_parameters():
        if key.endswith("bias"):
            assert parameter.eq(0).all(), key
        elif "norm" in key:
            assert parameter.eq(1).all(), key
        else:
            assert 0.02 < parameter.abs().max() <= 0.04, key


def test_every_layer_of_the_discriminator_has_spectral_norm_one():
    discriminator = small().discriminator
    for _ in range(30):
        discriminator(torch.randn(2, 3, 16, 16))
    layers = [m for m in discriminator.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(layers) == 8
    for layer in layers:
        norm = torch.linalg.matrix_norm(layer.weight.flatten(1), 2)
        assert norm.item() == pytest.approx(1, abs=1e-2)


def test_discriminator_is_the_published_network():
    """The layers of the published table, from the discriminator's normalised weights."""
    discriminator = small().discriminator.eval()
    x = images = torch.rand(2, 3, 16, 16) * 2 - 1
    convolutions = [m for m in discriminator.features if isinstance(m, nn.Conv2d)]
    for index, layer in enumerate(convolutions):
        size, stride = ((3, 1), (4, 2))[index % 2]
        assert layer.weight.shape[2:] == (size, size)
        x = nn.functional.conv2d(x, layer.weight, layer.bias, stride, padding=1)
        x = torch.where(x > 0, x, 0.1 * x)
    assert x.shape[2:] == (2, 2)
    expected = x.flatten(1) @ discriminator.head.weight[0] + discriminator.head.bias
    torch.testing.assert_close(discriminator(images), expected)


def test_width_scales_the_channels():
    gan = models.create("adagan-1-3x3", 16, width=0.3)
    assert [s.conv.out_channels for s in gan.generator.stages] == [19, 10, 5, 3]
    convolutions = [m for m in gan.discriminator.modules() if isinstance(m, nn.Conv2d)]
    assert [c.out_channels for c in convolutions] == [19, 19, 38, 38, 77, 77, 154]
    tiny = models.create("baseline", 8, width=1e-3)
    assert [s.conv.out_channels for s in tiny.generator.stages] == [1, 1, 1, 3]


def test_losses_are_those_of_the_logits():
    gan = small(loss="hinge").eval()
    real, z = torch.rand(4, 3, 16, 16) * 2 - 1, gan.latent(4)
    with torch.no_grad():
        real_logits, fake_logits = gan.discriminator(real), gan.discriminator(gan.generator(z))
    torch.testing.assert_close(
        gan.discriminator_loss(real, z), losses.hinge_discriminator(real_logits, fake_logits)
    )
    torch.testing.assert_close(gan.generator_loss(z), losses.hinge_generator(fake_logits))


def with_gradient(network):
    return [p.grad is not None and bool(p.grad.abs().sum() > 0) for p in network.parameters()]


def test_each_loss_teaches_its_own_network_only():
    gan = small()
    gan.discriminator_loss(torch.rand(4, 3, 16, 16), gan.latent(4)).backward()
    assert not any(with_gradient(gan.generator))
    assert all(with_gradient(gan.discriminator))

    gan.zero_grad()
    gan.generator_loss(gan.latent(4)).backward()
    assert not any(with_gradient(gan.discriminator))
    assert sum(with_gradient(gan.generator)) > 0.8 * len(with_gradient(gan.generator))
    assert all(p.requires_grad for p in gan.parameters())


def test_generator_loss_leaves_frozen_parameters_frozen():
    gan = small()
    gan.discriminator.features[0].requires_grad_(False)
    before = [p.requires_grad for p in gan.parameters()]
    gan.generator_loss(gan.latent(2))
    assert [p.requires_grad for p in gan.parameters()] == before


def test_a_step_lowers_each_loss():
    gan = small("adagan-1-3x3")
    optimizers = gan.optimizers()
    real, z = torch.rand(8, 3, 16, 16), gan.latent(8)
    for name, loss in (
        ("discriminator", lambda: gan.discriminator_loss(real, z)),
        ("generator", lambda: gan.generator_loss(z)),
    ):
        before = loss().item()
        for _ in range(3):
            optimizers[name].zero_grad()
            loss().backward()
            optimizers[name].step()
        assert loss().item() < before, name


def test_optimizers_have_the_published_settings():
    gan = small()
    optimizers = gan.optimizers()
    assert set(optimizers) == {"generator", "discriminator"}
    for name, optimizer in optimizers.items():
        assert type(optimizer) is torch.optim.Adam
        (group,) = optimizer.param_groups
        assert (group["lr"], group["betas"]) == (2e-4, (0.5, 0.999))
        assert set(group["params"]) == set(getattr(gan, name).parameters())
    assert (gan.batch_size, gan.n_dis) == (64, 1)


def test_latent_is_standard_normal_and_reproducible():
    gan = small("baseline")
    z = gan.latent(200, generator=torch.Generator().manual_seed(3))
    assert z.shape == (200, gan.latent_size) == (200, 128)
    assert z.mean().item() == pytest.approx(0, abs=0.02)
    assert z.std().item() == pytest.approx(1, abs=0.02)
    assert torch.equal(z, gan.latent(200, generator=torch.Generator().manual_seed(3)))
    assert gan.double().latent(1).dtype == torch.float64
    # The generator's device draws, the other receives.
    assert gan.latent(1, device="meta", generator=torch.Generator()).device.type == "meta"
    with pytest.raises(ValueError, match="n must be at least 0, got -1"):
        gan.latent(-1)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("baseline", {"wide": True}),
        ("AdaGAN-full-3x3", {"regressor": "full"}),
        ("adagan-1-5x5", {"negative_slope": 0.1, "loss": "hinge"}),
    ],
)
def test_config_rebuilds_the_model(name, options):
    gan = small(name, **options)
    twin = models.create(**json.loads(json.dumps(gan.config)))
    twin.load_state_dict(gan.state_dict())
    assert twin.config == gan.config
    assert twin.name == gan.name == gan.config["name"]
    assert twin.loss is gan.loss
    assert repr(twin) == repr(gan)
    z, real = gan.latent(2), torch.rand(2, 3, 16, 16)
    loss, expected = (model.eval().discriminator_loss(real, z) for model in (twin, gan))
    assert torch.equal(loss, expected)


def test_state_dict_names():
    gan = small("adagan-1-3x3")
    stage = ["generator.stages.{}.norm." + n for n in ("weight", "bias")]
    block = ("depthwise_weight", "pointwise_weight", "pointwise_bias", "bias_weight", "bias")
    expected = ["generator.dense.weight", "generator.dense.bias"]
    expected += [f"generator.stages.0.conv.{name}" for name in block]
    expected += [f"generator.stages.{i}.conv.{n}" for i in (1, 2, 3) for n in ("weight", "bias")]
    expected += [name.format(i) for i in range(3) for name in stage]
    for layer in [*(f"features.{2 * i}" for i in range(7)), "head"]:
        expected += [
            f"discriminator.{layer}.bias",
            f"discriminator.{layer}.parametrizations.weight.original",
        ]
    assert sorted(name for name, _ in gan.named_parameters()) == sorted(expected)


def test_networks_refuse_other_shapes():
    gan = small("baseline")
    with pytest.raises(ValueError, match=r"\(N, 3, 16, 16\), got \(1, 3, 8, 8\)"):
        gan.discriminator(torch.zeros(1, 3, 8, 8))
    with pytest.raises(ValueError, match=r"\(N, 128\), got \(1, 100\)"):
        gan.generator(torch.zeros(1, 100))
    with pytest.raises(ValueError, match="adaptive must be 0 to 4, got 5"):
        AdaGANGenerator(8, adaptive=5)
