r"""Adversarial losses of the logits that a discriminator gives.

``D(x)`` below is a logit, of any shape, and ``E`` the mean over all of them; ``σ`` is the sigmoid,
and ``softplus(a) = log(1 + e^a) = -log σ(-a)``, which stays exact where the logarithm of a sigmoid
would not. Every function returns a scalar to be minimised.
"""

import torch.nn.functional as F
from torch import Tensor


def non_saturating_discriminator(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """``E[softplus(-D(x))] + E[softplus(D(G(z)))]``.

    That is ``-E[log σ(D(x))] - E[log(1 - σ(D(G(z))))]``.

    Source: Goodfellow et al., "Generative Adversarial Nets", 2014, equation 1.
    """
    return F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean()


def non_saturating_generator(fake_logits: Tensor) -> Tensor:
    """``E[softplus(-D(G(z)))]``, that is ``-E[log σ(D(G(z)))]``.

    Source: Goodfellow et al., "Generative Adversarial Nets", 2014, section 3.
    """
    return F.softplus(-fake_logits).mean()


def minimax_discriminator(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """:func:`non_saturating_discriminator`; the two losses differ in the generator's side only."""
    return non_saturating_discriminator(real_logits, fake_logits)


def minimax_generator(fake_logits: Tensor) -> Tensor:
    """``-E[softplus(D(G(z)))]``, that is ``E[log(1 - σ(D(G(z))))]``; saturates while D is sure.

    Source: Goodfellow et al., "Generative Adversarial Nets", 2014, equation 1.
    """
    return -F.softplus(fake_logits).mean()


def hinge_discriminator(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """``E[max(0, 1 - D(x))] + E[max(0, 1 + D(G(z)))]``.

    Source: Lim & Ye, "Geometric GAN", 2017.
    """
    return F.relu(1 - real_logits).mean() + F.relu(1 + fake_logits).mean()


def hinge_generator(fake_logits: Tensor) -> Tensor:
    """``-E[D(G(z))]``.

    Source: Lim & Ye, "Geometric GAN", 2017.
    """
    return -fake_logits.mean()


def wasserstein_discriminator(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """``E[D(G(z))] - E[D(x)]``, for a discriminator whose Lipschitz constant is bounded.

    Source: Arjovsky et al., "Wasserstein GAN", 2017, equation 2.
    """
    return fake_logits.mean() - real_logits.mean()


def wasserstein_generator(fake_logits: Tensor) -> Tensor:
    """``-E[D(G(z))]``.

    Source: Arjovsky et al., "Wasserstein GAN", 2017, equation 2.
    """
    return -fake_logits.mean()
