"""Samples from latents, as a trained generator is used."""

import torch
from torch import Tensor

from adaconv.models import GAN

BATCH = 64


@torch.no_grad()
def sample(gan: GAN, latent: Tensor) -> Tensor:
    """Return the generator's samples of latents (N, ...), computed in bounded batches.

    Batch normalisation uses its running statistics, so that a sample depends on its own latent
    alone. The generator's mode is left as it was.
    """
    training = gan.generator.training
    gan.generator.eval()
    try:
        return torch.cat([gan.generator(batch) for batch in latent.split(BATCH)])
    finally:
        gan.generator.train(training)
