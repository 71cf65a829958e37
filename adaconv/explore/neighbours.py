"""The training images that are nearest to samples: has the generator learned them by heart?"""

import torch
from torch import Tensor

from adaconv.data import TensorData
from adaconv.explore.sheet import Row
from adaconv.models import GAN
from adaconv.train import sample

#: Training images that are compared at once.
BATCH = 1024
#: Training images whose own nearest neighbours are looked for.
PROBES = 64


def nearest(images: Tensor, dataset: TensorData, count: int = 1) -> tuple[Tensor, Tensor]:
    """Find the items ``y`` of least ``√(mean over the values of (x - y)²)``, for each x.

    Args:
        images: x, (N, 3, S, S).
        dataset: items of the same shape.
        count: items for each image, at most as many as there are.

    Returns:
        Distances and indices of the items, both (N, count), the nearest first.

    Raises:
        ValueError: the shapes do not fit, or there are fewer items than ``count``.
    """
    if tuple(images.shape[1:]) != dataset.item_shape:
        raise ValueError(
            f"images have shape {tuple(images.shape[1:])}, those of {dataset.name} "
            f"{dataset.item_shape}"
        )
    if not 1 <= count <= len(dataset):
        raise ValueError(f"count must lie in 1 ... {len(dataset)}, got {count}")
    flat = images.detach().float().cpu().flatten(1)
    best = flat.new_full((len(flat), 0), 0.0)
    places = torch.empty(len(flat), 0, dtype=torch.long)
    for start in range(0, len(dataset), BATCH):
        indices = range(start, min(start + BATCH, len(dataset)))
        items = dataset.__getitems__(indices).flatten(1)
        found = torch.cdist(flat, items) / flat.shape[1] ** 0.5
        best = torch.cat([best, found], 1)
        places = torch.cat([places, torch.tensor(indices).expand(len(flat), -1)], 1)
        best, order = best.topk(min(count, best.shape[1]), largest=False)
        places = places.gather(1, order)
    return best, places


def neighbours(gan: GAN, latent: Tensor, dataset: TensorData, count: int = 7) -> list[Row]:
    """Put the nearest training images beside samples, a row for each sample.

    The distance stands below each; in the first row, the distance of some training images to their
    own nearest neighbour tells what is near. A sample that is much nearer than that was learned by
    heart.

    Args:
        gan: the model.
        latent: latents of the samples, (N, L).
        dataset: the training images.
        count: neighbours of a sample.

    Raises:
        ValueError: the dataset does not fit, or has fewer images.

    Source: the check is that of Goodfellow et al., "Generative Adversarial Nets", 2014, figure 2.
    """
    step = max(1, len(dataset) // PROBES)
    probes = dataset.__getitems__(range(0, len(dataset), step)[:PROBES])
    others, _ = nearest(probes, dataset, min(2, len(dataset)))  # the nearest of all is itself
    typical = others[:, -1].median().item()
    rows = [Row(f"training images; typically\n{typical:.3f} to the nearest other", probes[:count])]
    images = sample(gan, latent).float().cpu()
    distances, places = nearest(images, dataset, min(count, len(dataset)))
    for image, distance, place in zip(images, distances, places, strict=True):
        strip = torch.cat([image[None], dataset.__getitems__(place.tolist())])
        captions = ["sample", *(f"{value:.3f}" for value in distance.tolist())]
        name = f"nearest at {distance[0] / typical:.2f} of\nwhat is typical"
        rows.append(Row(name, strip, captions))
    return rows
