"""Every system at a size that trains in milliseconds, and as published."""

from typing import Any

import torch

from adaconv import data, models

#: Test id → name and options; image size and width apart.
SYSTEMS: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, {}) for name in models.names()},
    "gan minimax, at once": ("gan", {"loss": "minimax", "simultaneous": True}),
    "gan on points": ("gan", {"points": True}),
    "wgan-gp on points": ("wgan-gp", {"points": True}),
    "infogan as for SVHN": ("infogan", {"categorical": 4, "continuous": 4, "noise": 124}),
    "sngan hinge, setting A": ("sngan", {"loss": "hinge", "setting": "A"}),
}


def small(system: str) -> models.GAN:
    """Return the system for images of 8x8, narrow and newly initialised."""
    name, options = SYSTEMS[system]
    return models.create(name, 8, width=0.05, **options)


def drawn(gan: models.GAN, n: int, dtype: torch.dtype = torch.float32) -> data.Batch:
    """Return n samples of noise that may stand for the model's data, with labels if it has them."""
    values = torch.rand(n, *gan.generator(gan.latent(2)).shape[1:], dtype=dtype) * 2 - 1
    if not gan.labelled:
        return values
    return data.Labelled(values, torch.randint(gan.config["classes"], (n,)))
