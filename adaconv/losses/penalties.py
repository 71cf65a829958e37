"""Penalties on the gradient of a discriminator with respect to its input.

Each builds a graph through that gradient, so that the penalty itself can be differentiated: all
operators of this package take part. A sample's gradient is its own only where the discriminator
treats samples one by one, without batch normalisation.
"""

from collections.abc import Callable

import torch
from torch import Tensor

Discriminator = Callable[[Tensor], Tensor]


def gradient_penalty(
    discriminator: Discriminator, real: Tensor, fake: Tensor, share: Tensor | None = None
) -> Tensor:
    """``E[(‖∇D(s x + (1-s) G(z))‖₂ - 1)²]``, s uniform in [0, 1], one for each pair of samples.

    Args:
        discriminator: maps samples (N, ...) to logits, one for each.
        real: x, (N, ...).
        fake: G(z), of the same shape; no gradient reaches the generator.
        share: s, (N,); drawn from PyTorch's global random state by default.

    Raises:
        ValueError: the shapes do not fit.

    Source: Gulrajani et al., "Improved Training of Wasserstein GANs", 2017, equation 3, where its
    weight is 10.
    """
    if real.shape != fake.shape:
        raise ValueError(
            "real and generated samples must come in pairs, got "
            f"{tuple(real.shape)} and {tuple(fake.shape)}"
        )
    if share is None:
        share = torch.rand(len(real), dtype=real.dtype, device=real.device)
    if share.shape != real.shape[:1]:
        raise ValueError(f"share must have shape ({len(real)},), got {tuple(share.shape)}")
    share = share.view(-1, *[1] * (real.dim() - 1))
    slope = _slope(discriminator, share * real.detach() + (1 - share) * fake.detach())
    return (torch.linalg.vector_norm(slope, dim=1) - 1).square().mean()


def r1_penalty(discriminator: Discriminator, real: Tensor) -> Tensor:
    """``½ E[‖∇D(x)‖²]``, to be multiplied by γ.

    Args:
        discriminator: maps samples (N, ...) to logits, one for each.
        real: x, (N, ...).

    Source: Mescheder et al., "Which Training Methods for GANs do actually Converge?", 2018,
    equation 9, where γ is 10.
    """
    return _slope(discriminator, real.detach()).square().sum(1).mean() / 2


def _slope(discriminator: Discriminator, samples: Tensor) -> Tensor:
    """The gradients of each sample's logit with respect to the sample, (N, size of a sample)."""
    samples = samples.requires_grad_()
    (slope,) = torch.autograd.grad(discriminator(samples).sum(), samples, create_graph=True)
    return slope.flatten(1)
