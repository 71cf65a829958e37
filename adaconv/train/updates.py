"""The updates that adversarial training takes in turns."""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from adaconv.data import Batch
from adaconv.models import GAN
from adaconv.train.health import first_not_finite, last_gradient

if TYPE_CHECKING:  # an optional package
    from lightning_fabric import Fabric

#: What has a state for each side.
STATEFUL = ("optimizers", "schedules", "scalers")


class TrainingDivergedError(RuntimeError):
    """A loss, a gradient or a weight is no longer finite; training cannot go on."""


class Updates:
    """A GAN and its optimisers on the device, and in the precision, of a ``Fabric``.

    Args:
        fabric: carries the networks to its device; the model given is moved, not copied.
        gan: the model.
        accumulate: parts that a batch is computed in, one after the other.
        rate: factor on the learning rates as a function of the steps done.

    Attributes:
        optimizers: the optimisers by side.
        schedules: their learning rates.
        scalers: the factors on their losses, 1 but where gradients could vanish in half precision.
    """

    def __init__(
        self,
        fabric: "Fabric",
        gan: GAN,
        *,
        accumulate: int = 1,
        rate: Callable[[int], float] = lambda step: 1.0,
    ) -> None:
        self.fabric, self.accumulate = fabric, accumulate
        self.gan = fabric.setup_module(gan)
        self.optimizers = gan.optimizers()
        self.schedules = {side: LambdaLR(o, rate) for side, o in self.optimizers.items()}
        half = fabric.strategy.precision.precision == "16-mixed"
        self.scalers = {
            side: torch.amp.GradScaler(fabric.device.type, enabled=half) for side in self.optimizers
        }
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
            TrainingDivergedError: a loss or a gradient is not finite; nothing was updated.
        """
        latents = self.gan.latent(count).chunk(self.accumulate)
        reals = [None] * len(latents) if real is None else real.chunk(self.accumulate)
        found: defaultdict[str, float] = defaultdict(float)
        losses: dict[str, Tensor] = {}
        for side in sides:
            self.optimizers[side].zero_grad()
            for latent, part in zip(latents, reals, strict=True):
                given = {"real": part} if side in self.gan.data_sides else {}
                loss, measured = self._loss(side, latent=latent, **given)
                for name, value in measured.items():
                    found[name] += value / len(latents)
                if self.gan.consensus:
                    losses[side] = loss
                else:  # before the next one, so that its graph can go
                    self.fabric.backward(self.scalers[side].scale(loss / len(latents)))
        if losses:
            found["field_norm"] = self._agree(losses)
        for side in sides:
            found |= self._gradient(side)
        for side in sides:
            self.scalers[side].step(self.optimizers[side])
            self.scalers[side].update()
            self.gan.after_update(side)
        return dict(found)

    def end_step(self) -> None:
        """Let the learning rates move on."""
        for schedule in self.schedules.values():
            schedule.step()

    def state_dict(self) -> dict[str, dict[str, Any]]:
        """The states of optimisers, schedules and scalers, by these names and by side."""
        return {
            kind: {side: item.state_dict() for side, item in getattr(self, kind).items()}
            for kind in STATEFUL
        }

    def load_state_dict(self, state: Mapping[str, Mapping[str, Any]]) -> None:
        """Go back to what :meth:`state_dict` returned."""
        for kind in STATEFUL:
            for side, item in getattr(self, kind).items():
                item.load_state_dict(state[kind][side])
        for optimizer in self.optimizers.values():
            for parameter, values in optimizer.state.items():
                for name, value in values.items():  # files keep values, not their layout
                    if parameter.dim() == 4 and getattr(value, "shape", None) == parameter.shape:
                        values[name] = torch.empty_like(parameter).copy_(value)

    def synchronize(self) -> None:
        """Wait until the device has done all that it was given, so that a clock can be read."""
        if self.fabric.device.type != "cpu":
            torch.accelerator.synchronize(self.fabric.device)

    def _loss(self, side: str, **inputs: Batch | None) -> tuple[Tensor, dict[str, float]]:
        """Compute the loss of a side, and what was measured."""
        observed = self.gan.observed
        observed.clear()
        loss = self._compute(side, inputs)
        value = loss.item()
        if not math.isfinite(value):  # before the update: it would spoil the weights
            origin = first_not_finite(self.gan.module, lambda: self._compute(side, inputs))
            raise TrainingDivergedError(f"the {side}'s loss is {value}; {origin}")
        return loss, {f"{side}_loss": value} | {k: v.item() for k, v in observed.items()}

    def _compute(self, side: str, inputs: Mapping[str, Batch | None]) -> Tensor:
        with self.fabric.autocast():
            return getattr(self.gan, f"{side}_loss")(**inputs)

    def _gradient(self, side: str) -> dict[str, float]:
        """Take the factor out of a side's gradients, and measure them."""
        scaler, parameters = self.scalers[side], self._parameters(side)
        scaler.unscale_(self.optimizers[side])
        total = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        norm = total.item()
        if math.isfinite(norm):
            return {f"{side}_gradient": norm}
        if scaler.is_enabled():  # the update is left out, and the factor becomes smaller
            return {}
        origin = last_gradient(self.gan.module, parameters)
        raise TrainingDivergedError(f"the norm of the {side}'s gradient is {norm}; {origin}")

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
