"""Training steps of two backends, timed side by side."""

import copy
import itertools
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import adaconv
from adaconv.data import Batch
from adaconv.models import GAN
from adaconv.train.updates import Updates

if TYPE_CHECKING:  # an optional package
    from lightning_fabric import Fabric

WARM_UP = 1
ROUNDS = 5
#: No further round starts after this many seconds.
BUDGET = 30.0


@dataclass(frozen=True)
class Comparison:
    """Speed of training on the backend of a run, and on another one."""

    backend: str
    against: str
    images_per_second: float
    """Of ``backend``, from the median of its steps."""
    against_images_per_second: float
    rounds: int
    """Timed steps of each."""

    @property
    def ratio(self) -> float:
        """How many times as fast as ``against`` the run's backend is."""
        return self.images_per_second / self.against_images_per_second

    def __str__(self) -> str:
        return (
            f"{self.images_per_second:.1f} images/s on {self.backend}, "
            f"{self.against_images_per_second:.1f} on {self.against}: {self.ratio:.2f} times "
            f"as fast (medians of {self.rounds} interleaved steps)"
        )


def compare(fabric: "Fabric", gan: GAN, batches: Sequence[Batch], *names: str) -> Comparison:
    """Time training steps on two backends in turn, A B A B ..., each on its own copy of the model.

    A step has as many updates of the discriminator as there are batches. The first step of each
    copy is not counted; the model itself stays as it is.

    Args:
        fabric: device and precision.
        gan: the model.
        batches: images (N, 3, S, S) on the device, one batch for each update of the discriminator.
        *names: the run's backend, and the one to compare with.

    Raises:
        BackendError: one of the backends cannot run here.
    """
    copies = {name: Updates(fabric, copy.deepcopy(gan)) for name in names}
    seconds: dict[str, list[float]] = {name: [] for name in names}
    end = time.perf_counter() + BUDGET
    for round_ in range(WARM_UP + ROUNDS):
        if round_ > WARM_UP and time.perf_counter() > end:
            break
        for name, updates in copies.items():
            elapsed = _timed_step(updates, name, batches)
            if round_ >= WARM_UP:
                seconds[name].append(elapsed)
    images = sum(len(batch) for batch in batches)
    backend, against = names
    return Comparison(
        backend,
        against,
        images / statistics.median(seconds[backend]),
        images / statistics.median(seconds[against]),
        len(seconds[backend]),
    )


def _timed_step(updates: Updates, name: str, batches: Sequence[Batch]) -> float:
    """Seconds of one step on the backend ``name``."""
    with adaconv.backend(name):
        return timed_step(updates, batches).seconds


@dataclass(frozen=True)
class Step:
    """One training step: how long it took, and its losses in the order of the updates."""

    seconds: float
    losses: tuple[float, ...]
    """Of the discriminator on each of its batches, then of the others."""


def timed_step(updates: Updates, batches: Sequence[Batch]) -> Step:
    """Take the turns of one step; each that learns from data takes the next of the batches.

    Where generators learn from data too, the first comes again behind the last.
    """
    rest = itertools.cycle(batches)
    gan = updates.gan
    losses: list[float] = []
    updates.synchronize()
    start = time.perf_counter()
    for sides in gan.turns(len(batches)):
        real = next(rest) if gan.data_sides.intersection(sides) else None
        found = updates.turn(sides, len(batches[-1]), real)
        losses += (found[f"{side}_loss"] for side in sides)
    updates.synchronize()
    return Step(time.perf_counter() - start, tuple(losses))
