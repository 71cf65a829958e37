"""Penalties on gradients: every step of a training equals that of plain PyTorch."""

import copy

import pytest
import torch
from torch import nn

import adaconv
from adaconv import models
from adaconv.losses import gradient_penalty, wasserstein_discriminator
from adaconv.models.adagan import AdaGANGenerator
from adaconv.nn import AdaConvBlock, MinibatchDiscrimination, spectral_norm


def drawn(seed):
    generator = torch.Generator().manual_seed(seed)
    return lambda *shape: torch.randn(shape, generator=generator, dtype=torch.float64)


def critic():
    """A critic of every part whose gradients the kernels form twice."""
    return nn.Sequential(
        spectral_norm(nn.Conv2d(3, 4, 3, padding=1)),
        nn.LeakyReLU(0.1),
        AdaConvBlock(4, 5, 3, stride=2, padding=1),
        nn.LeakyReLU(0.1),
        AdaConvBlock(5, 6, 4, stride=2, padding=1, regressor="full", negative_slope=0.2),
        nn.LeakyReLU(0.1),
        nn.Flatten(),
        spectral_norm(nn.Linear(6 * 2 * 2, 8)),
        MinibatchDiscrimination(8, 6, 3),
        nn.Linear(8 + 6, 1),
    )


def interpolate(network, draw):
    """The loss and the gradient penalty of WGAN-GP (Gulrajani et al., 2017, algorithm 1)."""
    real, fake = draw(6, 3, 8, 8), draw(6, 3, 8, 8)
    penalty = 10 * gradient_penalty(network, real, fake, share=draw(6).sigmoid())
    return wasserstein_discriminator(network(real), network(fake)), penalty


def path_length(generator, draw):
    """The path length penalty of StyleGAN2 (Karras et al., 2020, equation 4), and some loss."""
    latent = draw(4, models.adagan.LATENT_SIZE).requires_grad_()
    images = generator(latent)
    noise = draw(*images.shape) / images[0, 0].numel() ** 0.5
    (slope,) = torch.autograd.grad((images * noise).sum(), latent, create_graph=True)
    return images.square().mean(), (slope.norm(dim=1) - 1).square().mean()


def penalty_and_gradients(network, losses, draw, backend):
    with adaconv.backend(backend):
        loss, penalty = losses(network, draw)
        gradients = torch.autograd.grad(
            penalty, list(network.parameters()), retain_graph=True, materialize_grads=True,
            allow_unused=True,
        )  # fmt: skip
        (loss + penalty).backward()
    return penalty.detach(), *gradients


@pytest.mark.parametrize(
    ("build", "losses"),
    [(critic, interpolate), (lambda: AdaGANGenerator(8, 0.05), path_length)],
    ids=["gradient penalty of a critic", "path length of a generator"],
)
def test_penalties_of_a_training_equal_the_reference(cpu_backend, build, losses):
    torch.manual_seed(0)
    network = build().double()
    with torch.no_grad():  # so that the regressed weights count
        for parameter in network.parameters():
            parameter.mul_(5)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, betas=(0.0, 0.9))
    penalties = []
    for step in range(20):
        twin = copy.deepcopy(network)
        optimizer.zero_grad()
        ours = penalty_and_gradients(network, losses, drawn(step), cpu_backend)
        theirs = penalty_and_gradients(twin, losses, drawn(step), "reference")
        # Some gradients vanish but for rounding: a bias in front of differences between samples.
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)
        optimizer.step()
        penalties.append(ours[0].item())
    assert len(set(penalties)) == len(penalties)
