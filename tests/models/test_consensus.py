"""Consensus optimisation: the direction is ``v + γ ∇½‖v‖²``, for any model."""

import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

import adaconv
from adaconv import models
from adaconv.models import GAN
from adaconv.train.updates import Updates


class Bilinear(GAN):
    """L_D = -φ θ, L_G = φ θ: the game that simultaneous gradient steps only turn around."""

    def __init__(self) -> None:
        number = nn.Linear(1, 1, bias=False).double()
        twin = nn.Linear(1, 1, bias=False).double()
        nn.init.constant_(number.weight, 2.0)
        nn.init.constant_(twin.weight, 3.0)
        config = {"name": "bilinear", "image_size": 0, "loss": "wasserstein"}
        super().__init__(number, twin, config, latent_size=1)

    def discriminator_loss(self, real, latent):
        with self.learning("discriminator"):
            return -(self.discriminator.weight * self.generator.weight).sum()

    def generator_loss(self, latent):
        with self.learning("generator"):
            return (self.discriminator.weight * self.generator.weight).sum()

    def optimizer(self, parameters):
        return torch.optim.SGD(parameters, lr=0.1)


def updates(gan: GAN) -> Updates:
    return Updates(Fabric(accelerator="cpu", devices=1), gan)


def test_a_game_that_turns_in_circles_converges():
    weights = {}
    for weight in (None, 1.0):
        gan = Bilinear()
        if weight is not None:
            gan.agree(weight)
        gan.simultaneous = True
        game = updates(gan)
        real = torch.zeros(1, 1, dtype=torch.float64)
        first = game.turn(gan.sides, 1, real)
        if weight is not None:
            # v = (-θ, φ), ½‖v‖² = (θ² + φ²) / 2, φ = 3, θ = 2: the steps are along (φ-θ, θ+φ)
            assert gan.discriminator.weight.item() == pytest.approx(3 - 0.1 * (3 - 2))
            assert gan.generator.weight.item() == pytest.approx(2 - 0.1 * (2 + 3))
            assert first["field_norm"] == pytest.approx(13**0.5)
            assert first["generator_gradient"] == pytest.approx(5)
        for _ in range(60):
            game.turn(gan.sides, 1, real)
        weights[weight] = (gan.discriminator.weight**2 + gan.generator.weight**2).sum().item()
    assert weights[None] > 13  # simultaneous steps spiral outwards
    assert weights[1.0] < 1e-3


@pytest.mark.parametrize("name", ["adagan-1-3x3", "sngan", "wgan-gp", "consensus"])
def test_the_direction_of_any_model(name, cpu_backend):
    """Against differences of ‖v‖² along random directions, and against the reference backend."""
    torch.manual_seed(0)
    gan = models.create(name, 8, width=0.1).double()
    with torch.no_grad():
        for parameter in gan.parameters():  # with biases of 0, pixels lie right on kinks
            parameter.mul_(5).add_(0.1 * torch.randn_like(parameter))
    gan.agree(0.5)
    gan.eval()  # power iterations and running statistics stand still
    gan.tricks = nn.ModuleList()  # a penalty draws random numbers
    gan.optimizer = lambda parameters: torch.optim.SGD(parameters, lr=0.0)
    real, latent = torch.rand(3, 3, 8, 8).double() * 2 - 1, gan.latent(3)
    gan.latent = lambda count: latent
    parameters = {side: list(getattr(gan, side).parameters()) for side in gan.sides}
    everything = [p for side in gan.sides for p in parameters[side]]

    def field() -> list[torch.Tensor]:
        losses = {"discriminator": (real, latent), "generator": (latent,)}
        return [
            part.detach()
            for side, given in losses.items()
            for part in torch.autograd.grad(
                getattr(gan, f"{side}_loss")(*given), parameters[side], materialize_grads=True
            )
        ]

    found = {}
    for backend in (cpu_backend, "reference"):
        with adaconv.backend(backend):
            updates(gan).turn(gan.sides, 3, real)
            found[backend] = [p.grad.clone() for p in everything]
            v = field()
    torch.testing.assert_close(found[cpu_backend], found["reference"], rtol=1e-9, atol=1e-12)

    way = [torch.randn_like(p) for p in everything]
    energies = []
    with adaconv.backend("reference"):
        for step in (1e-7, -1e-7):
            with torch.no_grad():
                for parameter, part in zip(everything, way, strict=True):
                    parameter.add_(part, alpha=step)
            energies.append(sum(part.square().sum().item() for part in field()) / 2)
            with torch.no_grad():
                for parameter, part in zip(everything, way, strict=True):
                    parameter.sub_(part, alpha=step)
    expected = (energies[0] - energies[1]) / 2e-7
    regulariser = [(g - part) / 0.5 for g, part in zip(found["reference"], v, strict=True)]
    along = sum((part * d).sum().item() for part, d in zip(regulariser, way, strict=True))
    assert along == pytest.approx(expected, rel=1e-4)
    assert abs(expected) > 1e-6


def test_weight_must_be_positive():
    with pytest.raises(ValueError, match="weight of consensus must be positive, got 0"):
        models.create("gan", 8, width=0.05).agree(0)


def test_networks_of_the_paper():
    gan = models.create("consensus", points=True)
    for network, (inputs, outputs) in ((gan.generator, (16, 2)), (gan.discriminator, (2, 1))):
        sizes = [(m.in_features, m.out_features) for m in network.modules() if hasattr(m, "weight")]
        assert sorted(sizes) == sorted([(inputs, 16), *[(16, 16)] * 3, (16, outputs)])
    with torch.device("meta"):
        gan = models.create("consensus", 32)
    assert not [m for m in gan.modules() if isinstance(m, nn.BatchNorm2d)]
    first, *others = (m for m in gan.generator.modules() if isinstance(m, nn.ConvTranspose2d))
    assert (first.in_channels, first.out_channels) == (256, 256)
    assert [m.out_channels for m in others] == [128, 64, 3]
    assert all(m.bias is not None for m in (first, *others))


def test_a_trick_for_any_model():
    gan = models.create("wgan-gp", 8, width=0.05, tricks=["consensus:0.5"])
    assert (gan.consensus, gan.simultaneous, gan.n_dis) == (0.5, True, 1)
    assert models.create(**gan.config).consensus == 0.5
