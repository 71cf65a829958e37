"""A trained model in use: samples from latents, and what can be measured on data."""

import contextlib
from collections import defaultdict
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from adaconv.data import LabelledData, TensorData
from adaconv.models import GAN

BATCH = 64


@contextlib.contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Put a network into evaluation mode for the ``with`` block; its mode is left as it was."""
    training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(training)


@torch.no_grad()
def sample(gan: GAN, latent: Tensor) -> Tensor:
    """Return the generator's samples of latents (N, ...), computed in bounded batches.

    Batch normalisation uses its running statistics, so that a sample depends on its own latent
    alone. The generator's mode is left as it was.
    """
    with evaluating(gan.generator):
        return torch.cat([gan.generator(batch) for batch in latent.split(BATCH)])


def stream(gan: GAN, count: int, seed: int, batch_size: int = BATCH) -> Iterator[Tensor]:
    """Yield ``count`` samples in batches, of latents each of which is drawn by itself.

    The n-th sample depends on the seed alone, whatever the count and the size of the batches.
    """
    generator = torch.Generator().manual_seed(seed)
    for start in range(0, count, batch_size):
        size = min(batch_size, count - start)
        yield sample(gan, torch.cat([gan.latent(1, generator=generator) for _ in range(size)]))


@torch.no_grad()
def pictures(gan: GAN, latent: Tensor, real: Tensor) -> dict[str, Tensor]:
    """Return what a run shows, by name: the samples of ``latent``, and reconstructions of ``real``.

    Each reconstruction comes behind its original, if the model has any. Its mode is left as it was.
    """
    found = {"samples": sample(gan, latent)}
    with evaluating(gan):
        remade = gan.reconstruct(real)
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
    items = LabelledData(dataset)
    totals: defaultdict[str, float] = defaultdict(float)
    with evaluating(gan):
        for indices in torch.arange(len(items)).split(BATCH):
            batch = items.__getitems__(indices.tolist()).to(device)
            for name, mean in gan.evaluate(batch).items():
                totals[name] += mean.item() * len(batch)
    return {f"test_{name}": total / len(items) for name, total in totals.items()}
