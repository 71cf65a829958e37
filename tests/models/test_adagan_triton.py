"""AdaGAN trained through the Triton kernels: on a GPU, or else in Triton's interpreter."""

import copy

import torch

import adaconv
from adaconv import models

STEPS, BATCH, SIZE = 10, 1, 8


def train(gan, device, backend):
    """Train by gradient descent; return the losses of each step, and all that was learnt.

    Adam would divide what is zero but for rounding, the gradients of biases in front of a norm, by
    its own size.
    """
    gan = copy.deepcopy(gan).to(device)
    descents = [
        torch.optim.SGD(network.parameters(), lr=0.05)
        for network in (gan.discriminator, gan.generator)
    ]
    source = torch.Generator().manual_seed(1)
    losses = []
    with adaconv.backend(backend):
        for _ in range(STEPS):
            real = torch.rand(BATCH, 3, SIZE, SIZE, generator=source).to(device) * 2 - 1
            sides = (
                lambda latent, real=real: gan.discriminator_loss(real, latent),
                gan.generator_loss,
            )
            for descent, loss_of in zip(descents, sides, strict=True):
                descent.zero_grad()
                loss = loss_of(gan.latent(BATCH, generator=source))
                loss.backward()
                descent.step()
                losses.append(loss.detach().cpu())
    return torch.stack(losses), {name: t.cpu() for name, t in gan.state_dict().items()}


def test_training_is_that_of_the_cpu(triton_device, cpu_backend, monkeypatch):
    """Ten steps of a network of a few channels: the interpreter takes seconds for each."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    torch.manual_seed(0)
    gan = models.create("adagan-3x3", SIZE, width=0.008)
    before = copy.deepcopy(gan.state_dict())
    losses, learnt = train(gan, triton_device, "triton")
    expected_losses, expected = train(gan, "cpu", cpu_backend)
    torch.testing.assert_close(losses, expected_losses, rtol=1e-5, atol=0)
    for name, want in expected.items():
        if want.dtype == torch.float32:
            change = (want - before[name]).norm()
            error = (learnt[name] - want).norm()
            assert error <= 1e-4 * change + 1e-6 * want.norm() + 1e-9, name
