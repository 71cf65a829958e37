"""Every system at a size that trains in milliseconds, and as published."""

from typing import Any

from adaconv import models

#: Test id → name and options; image size and width apart.
SYSTEMS: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, {}) for name in models.names()},
    "gan minimax, at once": ("gan", {"loss": "minimax", "simultaneous": True}),
    "gan on points": ("gan", {"points": True}),
    "wgan-gp on points": ("wgan-gp", {"points": True}),
    # of its 16 units a twentieth is one, which may be dead
    "consensus on points": ("consensus", {"points": True, "width": 0.5}),
    "sngan hinge, setting A": ("sngan", {"loss": "hinge", "setting": "A"}),
}


def small(system: str) -> models.GAN:
    """Return the system for images of 8x8, narrow and newly initialised."""
    name, options = SYSTEMS[system]
    return models.create(name, 8, **{"width": 0.05, **options})
