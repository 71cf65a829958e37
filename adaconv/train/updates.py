"""The two updates that adversarial training alternates."""

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from adaconv.models import GAN

if TYPE_CHECKING:  # an optional package
    from lightning_fabric import Fabric


class TrainingDivergedError(RuntimeError):
    """A loss or a weight is no longer a finite number; training cannot go on."""


class Updates:
    """A GAN and its optimisers on the device, and in the precision, of a ``Fabric``.

    Args:
        fabric: carries the networks to its device; the model given is moved, not copied.
        gan: the model.
    """

    def __init__(self, fabric: "Fabric", gan: GAN) -> None:
        self.fabric = fabric
        #: The optimisers by side; Fabric's wrappers of them are what takes the steps.
        self.optimizers = gan.optimizers()
        self.gan, *wrappers = fabric.setup(gan, *self.optimizers.values())
        self._steppers = dict(zip(self.optimizers, wrappers, strict=True))
        for side in self.optimizers:
            self.gan.mark_forward_method(f"{side}_loss")

    def discriminator(self, real: Tensor) -> float:
        """Update the discriminator on images (N, 3, S, S) and as many fakes; return its loss."""
        return self._update("discriminator", real, self.gan.latent(len(real)))

    def generator(self, count: int) -> float:
        """Update the generator on ``count`` images; return its loss."""
        return self._update("generator", self.gan.latent(count))

    def synchronize(self) -> None:
        """Wait until the device has done all that it was given, so that a clock can be read."""
        if self.fabric.device.type != "cpu":
            torch.accelerator.synchronize(self.fabric.device)

    def _update(self, side: str, *inputs: Tensor) -> float:
        with self.fabric.autocast():
            loss = getattr(self.gan, f"{side}_loss")(*inputs)
        value = loss.item()
        if not math.isfinite(value):  # before the update: it would spoil the weights
            raise TrainingDivergedError(f"the {side}'s loss is {value}")
        self._steppers[side].zero_grad()
        self.fabric.backward(loss)
        self._steppers[side].step()
        return value
