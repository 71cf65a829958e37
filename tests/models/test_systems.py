"""What every system keeps: it trains alike on all backends, has its sizes, and can be rebuilt."""

import pytest
import torch
from lightning_fabric import Fabric
from rich.console import Console
from systems import SYSTEMS, drawn, noise, small

import adaconv
from adaconv import models
from adaconv.train import TrainConfig, Trainer
from adaconv.train.updates import Updates

STEPS = 3


def losses(system, backend):
    """The losses of the first steps, from the same weights, latents and data each time."""
    torch.manual_seed(0)
    # Where all samples are inside of the hinge, the discriminator's last bias has no gradient but
    # what rounding leaves, and Adam makes whole steps of that, unless it is far below its epsilon.
    dtype = torch.float64 if "hinge" in system else torch.float32
    gan = small(system).to(dtype)
    with torch.no_grad():  # as they start, so narrow networks make images that hardly differ
        for parameter in gan.parameters():
            parameter.mul_(5)
    updates = Updates(Fabric(accelerator="cpu", devices=1), gan)
    found = []
    with adaconv.backend(backend):
        for step in range(1, STEPS + 1):
            for sides in gan.turns(min(gan.discriminator_steps(step, gan.n_dis), 10)):
                measured = updates.turn(sides, 4, drawn(gan, 4, dtype))
                found += (measured[f"{side}_loss"] for side in sides)
    return torch.tensor(found)


@pytest.mark.parametrize("system", SYSTEMS)
def test_training_is_that_of_the_reference(system, cpu_backend):
    ours, theirs = losses(system, cpu_backend), losses(system, "reference")
    assert len(ours) >= 2 * STEPS
    assert len(ours.unique()) > STEPS  # it moves
    # some eight units in the last place; a kernel that is wrong by 1 % moves the losses by more
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=2e-7)


#: Systems that keep something of their own from step to step, or draw at random as they learn.
KEEPING = ["gan", "sngan", "acgan", "infogan", "improved-gan", "ali", "dcgan with all tricks"]
#: Those of other kinds of layers and losses.
OTHERS = ["adagan-3x3", "adagan-sep-3x3", "adagan-local-3x3", "wgan-gp", "cgan"]


@pytest.mark.parametrize(
    ("system", "precision"),
    [
        *((system, "32-true") for system in KEEPING + OTHERS),
        *((system, "bf16-mixed") for system in ["infogan", *OTHERS]),
    ],
)
def test_a_resumed_run_is_the_same(system, precision, tmp_path):
    def run(out, steps, resume=False):
        torch.manual_seed(7 if resume else 0)  # what is resumed starts from other numbers
        gan = small(system)
        config = TrainConfig(
            steps=steps,
            batch_size=4,
            samples=2,
            n_dis=1,
            backend="reference",
            accelerator="cpu",
            precision=precision,
        )
        Trainer(gan, dataset, tmp_path / out, config, Console(quiet=True)).run(resume=resume)
        return gan.state_dict()

    dataset = noise(small(system))
    whole = run("whole", 4)
    run("parts", 2)
    for name, value in run("parts", 4, resume=True).items():
        assert torch.equal(value, whole[name]), name


@pytest.mark.parametrize("system", SYSTEMS)
def test_sizes_and_settings(system):
    gan = small(system).eval()
    samples = gan.generator(gan.latent(3))
    assert samples.shape == (3, *noise(gan).item_shape)
    for shown in (gan.show_fake(gan.latent(3)), gan.show_real(drawn(gan, 3))):
        judged = gan.judge(shown)
        assert judged.logits.shape == (3,)
        assert len(judged.features) == 3
        assert judged.features.requires_grad
    optimizers = gan.optimizers()
    assert set(optimizers) == set(gan.sides)
    learning = {p for o in optimizers.values() for g in o.param_groups for p in g["params"]}
    assert learning == set(gan.parameters())
    twin = models.create(**gan.config)
    assert repr(twin) == repr(gan)
    assert twin.config == gan.config
    twin.load_state_dict(gan.state_dict())


def count(network):
    return sum(p.numel() for p in network.parameters())


def convolutions(*layers):
    """Parameters of square convolutions given as (channels in, channels out, side, extra)."""
    return sum(before * after * side**2 + extra for before, after, side, extra in layers)


#: system, image size → parameters of generator and discriminator, from the published tables
COUNTS = {
    ("gan", 32): (
        100 * 1200 + 1200 + 1200**2 + 1200 + 1200 * 3072 + 3072,
        (3072 + 1) * 1200 + (240 + 1) * 1200 + 241,
    ),
    ("gan on points", 32): (
        3 * 128 + 2 * 129 * 128 + 129 * 2,
        3 * 128 + 2 * 129 * 128 + 129,
    ),
    ("dcgan", 32): (
        convolutions((100, 512, 4, 1024), (512, 256, 5, 512), (256, 128, 5, 256), (128, 3, 5, 0)),
        convolutions((3, 128, 5, 0), (128, 256, 5, 512), (256, 512, 5, 1024), (512, 1, 4, 0)),
    ),
    ("dcgan", 64): (18_855_040, 17_232_768),
    ("wgan", 64): (
        convolutions(
            (100, 512, 4, 1024), (512, 256, 4, 512), (256, 128, 4, 256), (128, 64, 4, 128),
            (64, 3, 4, 0),
        ),
        convolutions(
            (3, 64, 4, 0), (64, 128, 4, 256), (128, 256, 4, 512), (256, 512, 4, 1024),
            (512, 1, 4, 0),
        ),
    ),
    ("wgan-gp", 32): (
        convolutions((128, 512, 4, 1024), (512, 256, 5, 512), (256, 128, 5, 256), (128, 3, 5, 3)),
        convolutions((3, 128, 5, 128), (128, 256, 5, 256), (256, 512, 5, 512), (512, 1, 4, 1)),
    ),
    ("sngan", 32): (
        129 * 8192
        + 1024
        + convolutions(
            (512, 256, 4, 3 * 256), (256, 128, 4, 3 * 128), (128, 64, 4, 3 * 64), (64, 3, 3, 3)
        ),
        2_935_873,
    ),
    ("sngan", 48): (
        129 * 18432
        + 1024
        + convolutions(
            (512, 256, 4, 3 * 256), (256, 128, 4, 3 * 128), (128, 64, 4, 3 * 64), (64, 3, 3, 3)
        ),
        2_946_113,
    ),
    ("cgan", 32): (
        101 * 200 + 11 * 1000 + 1201 * 1200 + 1201 * 3072,
        3073 * 1200 + 11 * 250 + 291 * 960 + 241,
    ),
    ("acgan", 32): (
        111 * 384
        + convolutions((384, 192, 4, 384), (192, 96, 4, 192), (96, 48, 4, 96), (48, 3, 4, 3)),
        convolutions(
            (3, 16, 3, 16), (16, 32, 3, 64), (32, 64, 3, 128), (64, 128, 3, 256),
            (128, 256, 3, 512), (256, 512, 3, 1024),
        )
        + 8193 * 11,
    ),
    ("infogan", 32): (
        75 * 1024 + 2048 + 1027 * 8192 + convolutions((128, 64, 4, 192), (64, 3, 4, 3)),
        convolutions((3, 64, 4, 64), (64, 128, 4, 384))
        + 8195 * 1024 + 1025 + 1027 * 128 + 129 * 12,
    ),
    ("improved-gan", 32): (
        convolutions((100, 512, 4, 1024), (512, 256, 5, 512), (256, 128, 5, 256), (128, 3, 5, 6)),
        convolutions(
            (3, 96, 3, 192), (96, 96, 3, 192), (96, 96, 3, 192), (96, 192, 3, 384),
            *[(192, 192, 3, 384)] * 3, *[(192, 192, 1, 384)] * 2, (192, 10, 1, 20),
        ),
    ),
    ("ali", 32): (
        convolutions(
            (64, 256, 4, 512), (256, 128, 4, 256), (128, 64, 4, 128), (64, 32, 4, 64),
            (32, 32, 5, 64), (32, 32, 1, 64), (32, 3, 1, 3),
        ),
        convolutions(
            (3, 64, 5, 64), (32, 128, 4, 128), (64, 256, 4, 256), (128, 512, 4, 512),
            (256, 1024, 4, 1024), (64, 1024, 1, 1024), (512, 1024, 1, 1024),
            *[(1024, 2048, 1, 2048)] * 2, (1024, 1, 1, 1),
        ),
    ),
    ("ali", 64): (
        convolutions(
            (256, 512, 4, 1024), (512, 256, 7, 512), (256, 256, 5, 512), (256, 128, 7, 256),
            (128, 64, 2, 128), (64, 3, 1, 3),
        ),
        convolutions(
            (3, 64, 2, 64), (64, 128, 7, 256), (128, 256, 5, 512), (256, 256, 7, 512),
            (256, 512, 4, 1024), (256, 1024, 1, 1024), (1024, 1024, 1, 1024),
            (1536, 2048, 1, 2048), (2048, 2048, 1, 2048), (2048, 1, 1, 1),
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("system", "image_size"), COUNTS)
def test_parameter_counts(system, image_size):
    name, options = SYSTEMS[system]
    with torch.device("meta"):
        gan = models.create(name, image_size, **options)
    assert (count(gan.generator), count(gan.discriminator)) == COUNTS[system, image_size]


SETTINGS = {
    "gan": (100, 1, "normal", torch.optim.SGD, {"lr": 0.1, "momentum": 0.5}),
    "gan on points": (100, 1, "normal", torch.optim.Adam, {"lr": 2e-4, "betas": (0.5, 0.999)}),
    "dcgan": (128, 1, "uniform", torch.optim.Adam, {"lr": 2e-4, "betas": (0.5, 0.999)}),
    "wgan": (64, 5, "normal", torch.optim.RMSprop, {"lr": 5e-5}),
    "wgan-gp": (64, 5, "normal", torch.optim.Adam, {"lr": 1e-4, "betas": (0.5, 0.9)}),
    "wgan-gp on points": (256, 5, "normal", torch.optim.Adam, {"lr": 1e-3, "betas": (0.5, 0.9)}),
    "consensus": (64, 1, "normal", torch.optim.RMSprop, {"lr": 1e-4, "alpha": 0.9}),
    "consensus on points": (128, 1, "normal", torch.optim.RMSprop, {"lr": 2e-3}),
    "sngan": (64, 1, "normal", torch.optim.Adam, {"lr": 2e-4, "betas": (0.5, 0.999)}),
    "cgan": (100, 1, "uniform", torch.optim.SGD, {"lr": 0.1, "momentum": 0.5}),
    "acgan": (100, 1, "normal", torch.optim.Adam, {"lr": 2e-4, "betas": (0.5, 0.999)}),
    "infogan": (128, 1, "uniform", torch.optim.Adam, {"betas": (0.5, 0.999)}),
    "improved-gan": (100, 1, "uniform", torch.optim.Adam, {"lr": 3e-4, "betas": (0.5, 0.999)}),
    "ali": (100, 1, "normal", torch.optim.Adam, {"lr": 1e-4, "betas": (0.5, 0.999)}),
    "sngan hinge, setting A": (
        64, 5, "normal", torch.optim.Adam, {"lr": 1e-4, "betas": (0.5, 0.9)}
    ),
}  # fmt: skip


@pytest.mark.parametrize("system", SETTINGS)
def test_published_settings(system):
    gan = small(system)
    *numbers, kind, options = SETTINGS[system]
    assert [gan.batch_size, gan.n_dis, gan.prior] == numbers
    for optimizer in gan.optimizers().values():
        assert type(optimizer) is kind
        (group,) = optimizer.param_groups
        assert {key: group[key] for key in options} == options


def test_uniform_latents():
    drawn = small("dcgan").latent(1000)
    assert drawn.abs().max() <= 1
    assert drawn.mean().item() == pytest.approx(0, abs=0.01)
    assert drawn.std().item() == pytest.approx(1 / 3**0.5, abs=0.01)


def test_wgan_is_clipped_and_keeps_its_schedule():
    gan = small("wgan")
    steps = [gan.discriminator_steps(step, 5) for step in range(1, 1002)]
    assert [i for i, n in enumerate(steps, 1) if n == 100] == [*range(1, 26), 501, 1001]
    assert set(steps) == {5, 100}
    gan.after_update("generator")
    assert gan.discriminator.layers[0].weight.abs().max() > 0.01
    gan.after_update("discriminator")
    assert gan.discriminator.layers[0].weight.abs().max() <= 0.01
    assert gan.generator.layers[1].weight.abs().max() > 0.01


def test_rules_of_dcgan():
    gan = models.create("dcgan", 32, width=0.05)
    kinds = {
        side: "".join(type(m).__name__[0] for m in getattr(gan, side).layers)
        for side in ("generator", "discriminator")
    }
    # Unflatten, ConvTranspose2d, BatchNorm2d, ReLU, Tanh; Conv2d, LeakyReLU
    assert kinds == {"generator": "UCBRCBRCBRCT", "discriminator": "CLCBLCBL"}


def test_maxout_takes_the_largest_piece():
    maxout = small("gan").discriminator.layers[2]
    x = torch.randn(2, maxout.pieces.in_features)
    pieces = x @ maxout.pieces.weight.T + maxout.pieces.bias
    expected = torch.stack([pieces[:, i : i + 5].max(1).values for i in range(0, 60, 5)], 1)
    torch.testing.assert_close(maxout(x), expected)


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        ("dcgan", {"image_size": 48}, ValueError, "must be 8, 16, 32, 64 or so on, got 48"),
        ("wgan", {"image_size": 4}, ValueError, "must be 8, 16, 32, 64 or so on, got 4"),
        ("wgan-gp", {"image_size": 8.0}, TypeError, r"must be an integer, got 8\.0"),
        ("sngan", {"image_size": 30}, ValueError, "positive multiple of 8, got 30"),
        ("gan", {"image_size": 0}, ValueError, "image_size must be positive, got 0"),
        ("gan", {"width": 0}, ValueError, "width must be a positive number, got 0"),
        ("gan", {"optimizer": "sdg"}, ValueError, "did you mean 'sgd'"),
        ("gan", {"loss": "minmax"}, ValueError, "did you mean 'minimax'"),
        ("wgan", {"clip": 0}, ValueError, "clip must be positive, got 0"),
        ("wgan", {"loss": "hinge"}, TypeError, "model wgan: no option is called 'loss'"),
        ("wgan-gp", {"penalty": -1}, ValueError, "penalty must be at least 0, got -1"),
        ("sngan", {"setting": "G"}, ValueError, "no setting is called 'G'. There are: A, B"),
        ("cgan", {"classes": 1}, ValueError, "at least 2 classes, got 1"),
        ("acgan", {"image_size": 24}, ValueError, "must be 8, 16, 32, 64 or so on, got 24"),
        ("infogan", {"image_size": 30}, ValueError, "positive multiple of 4, got 30"),
        ("infogan", {"noise": -1}, ValueError, "noise must be at least 0, got -1"),
        ("improved-gan", {}, ValueError, "must be 16, 32, 64, 128 or so on, got 8"),
        (
            "improved-gan",
            {"image_size": 16, "labels_per_class": 0},
            ValueError,
            "labels_per_class must be at least 1, got 0",
        ),
        ("ali", {}, ValueError, r"one of 32 \(cifar10\), 32 \(svhn\), 64 \(celeba\); got 8"),
        (
            "ali",
            {"image_size": 64, "table": "svhn"},
            ValueError,
            r"64 \(celeba\); got 64 and table='svhn'",
        ),
        ("ali", {"table": "mnist"}, ValueError, "no table is called 'mnist'. There are: cifar10"),
        ("dcgan", {"points": True}, TypeError, "model dcgan: no option is called 'points'"),
    ],
)
def test_refuses_what_a_system_cannot_make(name, options, error, message):
    with pytest.raises(error, match=message):
        models.create(name, **{"image_size": 8, "width": 0.05, **options})


@pytest.mark.parametrize("system", SYSTEMS)
def test_networks_refuse_other_shapes(system):
    gan = small(system)
    with pytest.raises(ValueError, match=r"latent must have shape \(N, \d+\), got \(1, 7\)"):
        gan.generator(torch.zeros(1, 7))
    shown = gan.show_fake(gan.latent(2)).samples
    wrong = torch.zeros(1, 3, 24, 24)
    with pytest.raises(ValueError, match=r"must have shape \(N, .*\), got \(1, 3, 24, 24\)"):
        gan.discriminator((wrong, *shown[1:]) if isinstance(shown, tuple) else wrong)
