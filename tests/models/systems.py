"""Every system at a size that trains in milliseconds, and as published."""

from typing import Any

import torch

from adaconv import data, models
from adaconv.models._switches import TRICKS

#: Test id → name and options; image size and width apart.
SYSTEMS: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, {}) for name in models.names()},
    "ali for SVHN": ("ali", {"table": "svhn"}),
    "improved-gan": ("improved-gan", {"labels_per_class": 2}),
    "dcgan with all tricks": ("dcgan", {"tricks": list(TRICKS)}),
    "gan minimax, at once": ("gan", {"loss": "minimax", "simultaneous": True}),
    "gan on points": ("gan", {"points": True}),
    "wgan-gp on points": ("wgan-gp", {"points": True}),
    # of its 16 units a twentieth is one, which may be dead
    "consensus on points": ("consensus", {"points": True, "width": 0.5}),
    "infogan as for SVHN": ("infogan", {"categorical": 4, "continuous": 4, "noise": 124}),
    "sngan hinge, setting A": ("sngan", {"loss": "hinge", "setting": "A"}),
}


#: Sizes of the images of systems that cannot make 8x8.
IMAGE_SIZES = {"ali": 32, "improved-gan": 16}


def small(system: str) -> models.GAN:
    """Return the system for images of 8x8, narrow, newly initialised and prepared with noise."""
    name, options = SYSTEMS[system]
    given = {"width": 0.05, **options}
    gan = models.create(name, IMAGE_SIZES.get(name, 8), **given)
    gan.prepare(noise(gan))
    return gan


def noise(gan: models.GAN, count: int = 40) -> data.TensorData:
    """Return noise that may stand for the model's data, each of the classes equally often."""
    about = {"name": "noise", "split": "train", "licence": "none"}
    if gan.config.get("points"):
        return data.PointData(**about, values=torch.randn(count, 2))
    classes = gan.config.get("classes", 2)
    return data.ImageData(
        **about,
        values=torch.randint(256, (count, 3, *[gan.image_size] * 2), dtype=torch.uint8),
        labels=torch.arange(count) % classes,
        classes=[str(index) for index in range(classes)],
    )


def drawn(gan: models.GAN, n: int, dtype: torch.dtype = torch.float32) -> data.Batch:
    """Return n samples of :func:`noise`, with labels if the model needs them."""
    dataset = noise(gan)
    found = (data.LabelledData(dataset) if gan.labelled else dataset).__getitems__(range(n))
    return found.to(dtype)
