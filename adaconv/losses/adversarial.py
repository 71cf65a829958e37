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


def smoothed_discriminator(
    real_logits: Tensor, fake_logits: Tensor, alpha: float = 0.9, beta: float = 0.0
) -> Tensor:
    """``-E[α log σ(D(x)) + (1-α) log σ(-D(x))] - E[β log σ(D(G(z))) + (1-β) log σ(-D(G(z)))]``.

    Label smoothing: the cross entropy whose targets are α for real and β for generated samples.
    Where real and generated samples are as dense as ``p`` and ``q``, it is least at
    ``σ(D) = (α p + β q) / (p + q)``. With β > 0 that rewards the generator for staying where it is
    although there are no data; one-sided smoothing, the default, has β = 0.
    :func:`non_saturating_discriminator` is α = 1, β = 0.

    Raises:
        ValueError: α or β does not lie in [0, 1].

    Source: Salimans et al., "Improved Techniques for Training GANs", 2016, section 3.4.
    """
    for name, target in (("alpha", alpha), ("beta", beta)):
        if not 0 <= target <= 1:
            raise ValueError(f"{name} must lie in [0, 1], got {target!r}")
    return _cross_entropy(real_logits, alpha) + _cross_entropy(fake_logits, beta)


def _cross_entropy(logits: Tensor, target: float) -> Tensor:
    return (target * F.softplus(-logits) + (1 - target) * F.softplus(logits)).mean()


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
    return -wasserstein_estimate(real_logits, fake_logits)


def wasserstein_generator(fake_logits: Tensor) -> Tensor:
    """``-E[D(G(z))]``.

    Source: Arjovsky et al., "Wasserstein GAN", 2017, equation 2.
    """
    return -fake_logits.mean()


def wasserstein_estimate(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """``E[D(x)] - E[D(G(z))]``, at most K times the Wasserstein distance of data and samples.

    K is the discriminator's Lipschitz constant; at the best discriminator the two are equal.

    Source: Arjovsky et al., "Wasserstein GAN", 2017, equation 2.
    """
    return real_logits.mean() - fake_logits.mean()


def least_squares_discriminator(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """``½ E[(D(x) - 1)²] + ½ E[D(G(z))²]``.

    Source: Mao et al., "Least Squares Generative Adversarial Networks", 2017, equation 9.
    """
    return ((real_logits - 1).square().mean() + fake_logits.square().mean()) / 2


def least_squares_generator(fake_logits: Tensor) -> Tensor:
    """``½ E[(D(G(z)) - 1)²]``.

    Source: Mao et al., "Least Squares Generative Adversarial Networks", 2017, equation 9.
    """
    return (fake_logits - 1).square().mean() / 2
