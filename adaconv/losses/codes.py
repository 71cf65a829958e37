"""Terms of labels and latent codes that a second head of the discriminator finds in samples."""

import math

import torch.nn.functional as F
from torch import Tensor


def classification(class_logits: Tensor, labels: Tensor) -> Tensor:
    """``-E[log P(c|x)]``, where ``P`` is the softmax of the class logits.

    In AC-GAN ``L_C`` is minus this of the real samples minus this of the generated ones; the
    discriminator minimises ``-L_S - L_C`` and the generator ``L_S - L_C``, where ``L_S`` is the
    log-likelihood of the source: minus an adversarial loss of the discriminator.

    Args:
        class_logits: (N, K).
        labels: c, the classes of the samples, or those that they were generated from, int64 (N,).

    Source: Odena et al., "Conditional Image Synthesis with Auxiliary Classifier GANs", 2017,
    equations 2 and 3.
    """
    return F.cross_entropy(class_logits, labels)


def categorical_information(code_logits: Tensor, codes: Tensor) -> Tensor:
    """``L_I = E[log Q(c|G(z,c))] + H(c)`` in nats, c uniform over K classes, ``H(c) = log K``.

    A lower bound of the mutual information of code and sample, to be maximised by both networks:
    λ times this is subtracted from their losses. At most ``log K``; 0 if Q knows nothing.

    Args:
        code_logits: Q's logits, (N, K).
        codes: c, int64 (N,).

    Source: Chen et al., "InfoGAN", 2016, equation 5.
    """
    return math.log(code_logits.shape[1]) - F.cross_entropy(code_logits, codes)


def gaussian_information(
    mean: Tensor, log_std: Tensor, codes: Tensor, entropy: float = math.log(2)
) -> Tensor:
    """``L_I = E[Σ_k log N(c_k; μ_k, σ_k²) + H(c_k)]`` in nats, for K continuous codes.

    A lower bound of the mutual information of codes and sample, see
    :func:`categorical_information`.

    Args:
        mean: Q's μ, (N, K).
        log_std: log σ, (N, K) or what broadcasts to it; InfoGAN's code also has σ = 1.
        codes: c, (N, K).
        entropy: H of one code: log 2 of one that is uniform in [-1, 1].

    Source: Chen et al., "InfoGAN", 2016, equation 5 and section 6.
    """
    deviation = (codes - mean) * (-log_std).exp()
    log_density = -(deviation.square() + math.log(2 * math.pi)) / 2 - log_std
    return (log_density + entropy).sum(1).mean()
