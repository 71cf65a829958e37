"""A trained model in use: samples from latents, and what can be measured on data."""

from collections import defaultdict

import torch
from torch import Tensor

from adaconv.data import LabelledData, TensorData
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


@torch.no_grad()
def pictures(gan: GAN, latent: Tensor, real: Tensor) -> dict[str, Tensor]:
    """Return what a run shows, by name: the samples of ``latent``, and reconstructions of ``real``.

    Each reconstruction comes behind its original, if the model has any. Its mode is left as it was.
    """
    found = {"samples": sample(gan, latent)}
    training = gan.training
    gan.eval()
    try:
        remade = gan.reconstruct(real)
    finally:
        gan.train(training)
    if remade is not None:
        found["reconstructions"] = torch.stack([real, remade], 1).flatten(0, 1)
    return found


@torch.no_grad()
def evaluate(gan: GAN, dataset: TensorData) -> dict[str, float]:
    """Return the means over all items of what the model measures, as ``test_NAME``.

    The items come in bounded batches, see :meth:`adaconv.models.GAN.evaluate`; the model's mode is
    left as it was.

    Args:
        gan: the model.
        dataset: data with labels that the model was not trained on.
    """
    device = next(gan.parameters()).device
    items, training = LabelledData(dataset), gan.training
    totals: defaultdict[str, float] = defaultdict(float)
    gan.eval()
    try:
        for indices in torch.arange(len(items)).split(BATCH):
            batch = items.__getitems__(indices.tolist()).to(device)
            for name, mean in gan.evaluate(batch).items():
                totals[name] += mean.item() * len(batch)
    finally:
        gan.train(training)
    return {f"test_{name}": total / len(items) for name, total in totals.items()}
