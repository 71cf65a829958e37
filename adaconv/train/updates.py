"""The updates that adversarial training takes in turns."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from adaconv.data import Batch
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

    def turn(self, sides: Sequence[str], count: int, real: Batch | None = None) -> dict[str, float]:
        """Update the networks of ``sides``, all from gradients where all of them are before.

        Each loss reaches its own side's parameters only, and all see the same latents. Where the
        model asks for it, sides that move at once do so by consensus, see
        :meth:`adaconv.models.GAN.agree`.

        Args:
            sides: some of the model's.
            count: number of samples to generate.
            real: real samples, for the sides that learn from them.

        Returns:
            The losses, ``SIDE_loss``, the norms of the gradients, ``SIDE_gradient``, and what the
            model observed besides.

        Raises:
            TrainingDivergedError: a loss is not finite; nothing was updated.
        """
        latent = self.gan.latent(count)
        found: dict[str, float] = {}
        losses: dict[str, Tensor] = {}
        for side in sides:
            data = {"real": real} if side in self.gan.data_sides else {}
            losses[side], measured = self._loss(side, latent=latent, **data)
            found |= measured
            if not self.gan.consensus:  # before the next side, so that its graph can go
                self._steppers[side].zero_grad()
                self.fabric.backward(losses.pop(side))
        if losses:
            found["field_norm"] = self._agree(losses)
        for side in sides:
            norm = torch.nn.utils.get_total_norm(
                [p.grad for p in self._parameters(side) if p.grad is not None]
            )
            found[f"{side}_gradient"] = norm.item()
            self._steppers[side].step()
            self.gan.after_update(side)
        return found

    def synchronize(self) -> None:
        """Wait until the device has done all that it was given, so that a clock can be read."""
        if self.fabric.device.type != "cpu":
            torch.accelerator.synchronize(self.fabric.device)

    def _loss(self, side: str, **inputs: Batch | None) -> tuple[Tensor, dict[str, float]]:
        """Compute the loss of a side, and what was measured."""
        observed = self.gan.observed
        observed.clear()
        with self.fabric.autocast():
            loss = getattr(self.gan, f"{side}_loss")(**inputs)
        value = loss.item()
        if not math.isfinite(value):  # before the update: it would spoil the weights
            raise TrainingDivergedError(f"the {side}'s loss is {value}")
        return loss, {f"{side}_loss": value} | {k: v.item() for k, v in observed.items()}

    def _agree(self, losses: dict[str, Tensor]) -> float:
        """Leave ``v + γ ∇½‖v‖²`` in the gradients, where v is of the losses; return ``‖v‖``."""
        parameters: list[nn.Parameter] = []
        field: list[Tensor] = []
        for side, loss in losses.items():
            own = self._parameters(side)
            parameters += own
            field += torch.autograd.grad(loss, own, create_graph=True, materialize_grads=True)
        energy = torch.stack([part.square().sum() for part in field]).sum() / 2
        slope = torch.autograd.grad(energy, parameters, materialize_grads=True)
        for parameter, part, change in zip(parameters, field, slope, strict=True):
            parameter.grad = part.detach() + self.gan.consensus * change
        return math.sqrt(2 * energy.item())

    def _parameters(self, side: str) -> list[nn.Parameter]:
        return [p for group in self.optimizers[side].param_groups for p in group["params"]]
