"""A training that is filmed: samples and the discriminator's field at regular steps."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor

from adaconv.data import PointData
from adaconv.metrics import Coverage, mode_coverage
from adaconv.models import GAN
from adaconv.train import TrainConfig, Trainer, read_metrics, sample
from adaconv.train.sampling import evaluating

#: Samples that are shown, and those that are judged in the end, as the literature does.
SHOWN, JUDGED = 400, 2500
#: Points along an edge of the field.
SIDE = 48
#: The picture is so many times as wide as the data.
MARGIN = 1.35


@dataclass(frozen=True)
class Frame:
    """A model at one step."""

    step: int
    samples: Tensor
    """(N, 2), always of the same latents."""
    field: Tensor
    """What the discriminator says of the points of a grid, (S, S), its greatest value being 1 or
    -1: the first row is the highest y, the first column the lowest x; positive is real."""
    scale: float
    """What the field was divided by."""


@dataclass(frozen=True)
class Recording:
    """A training run that was filmed."""

    name: str
    frames: Sequence[Frame]
    metrics: Sequence[Mapping[str, Any]]
    """A line for each frame but the first."""
    seconds: float
    coverage: Coverage | None
    """Of the last state; ``None`` where the data are no mixture."""

    def __str__(self) -> str:
        judged = "the data have no modes" if self.coverage is None else str(self.coverage)
        return f"{judged}; {self.frames[-1].step} steps in {self.seconds:.0f} s"


class Camera:
    """Takes a :class:`Frame` at each call; give it to a trainer as its ``watch``.

    Where the discriminator's logits are log-odds its field is ``2 σ(D(x)) - 1``; a critic's is its
    height above the middle of the lowest and the highest. Both are divided by their greatest value,
    as a discriminator near its equilibrium is near 0 everywhere. A discriminator that compares
    samples sees batches of points from all over the grid.

    Args:
        dataset: the points that are learned; they decide how much of the plane is seen.
        seed: seed of the latents.

    Attributes:
        extent: the picture shows [-extent, extent]².
        frames: what was taken.
    """

    def __init__(self, dataset: PointData, seed: int = 0) -> None:
        self.extent = MARGIN * dataset.values.abs().max().item()
        self.seed = seed
        self.frames: list[Frame] = []

    def __call__(self, step: int, gan: GAN) -> None:
        """Take a frame."""
        latent = gan.latent(SHOWN, generator=torch.Generator().manual_seed(self.seed))
        samples = sample(gan, latent).float().cpu()
        field = self.field(gan)
        scale = field.abs().max().clamp(min=1e-12).item()
        self.frames.append(Frame(step, samples, field / scale, scale))

    @torch.no_grad()
    def field(self, gan: GAN) -> Tensor:
        """Return the discriminator's field, (S, S); its mode stays as it was."""
        axis = (torch.arange(SIDE) + 0.5) / SIDE * 2 - 1
        y, x = torch.meshgrid(-axis, axis, indexing="ij")
        first = next(gan.discriminator.parameters())
        points = self.extent * torch.stack([x, y], 2).reshape(-1, 2).to(first)
        parts = -(-len(points) // gan.batch_size)
        logits = points.new_empty(len(points))
        with evaluating(gan.discriminator):
            for part in range(parts):
                logits[part::parts] = gan.discriminator(points[part::parts])
        logits = logits.float().cpu().reshape(SIDE, SIDE)
        if gan.loss.log_odds:
            return (logits / 2).tanh()  # 2 σ - 1
        return logits - (logits.min() + logits.max()) / 2


def check_length(steps: int, frames: int) -> None:
    """Raise unless there is something to film."""
    if frames < 2 or steps < 1:
        raise ValueError(
            f"there must be a step and two frames at least, got {steps} steps, {frames} frames"
        )


def record(
    name: str,
    gan: GAN,
    dataset: PointData,
    out: str | os.PathLike[str],
    *,
    steps: int,
    frames: int = 40,
    seed: int = 0,
    console: Console | None = None,
) -> Recording:
    """Train a model and film it.

    Args:
        name: what the recording is called.
        gan: the model, for points; it is trained in place.
        dataset: the points.
        out: new folder of the run, as a :class:`~adaconv.train.Trainer` fills it.
        steps: steps of training.
        frames: pictures that are taken, the first one before training.
        seed: seed of the order of the points, and of the latents that are shown.
        console: where progress is shown.

    Raises:
        ValueError: the folder is in use, or a number is out of range.
        TrainingDivergedError: a loss or a weight is not finite.
    """
    check_length(steps, frames)
    every = max(1, steps // (frames - 1))
    config = TrainConfig(
        steps=steps,
        seed=seed,
        accelerator="cpu",
        log_every=every,
        sample_every=every,
        checkpoint_every=steps,
    )
    camera = Camera(dataset, seed)
    trainer = Trainer(gan, dataset, Path(out), config, console, watch=camera)
    summary = trainer.run()
    coverage = None
    if dataset.centers is not None:
        # none of the latents that are shown, nor of those that training measures
        latent = gan.latent(JUDGED, generator=torch.Generator().manual_seed(seed + 1))
        coverage = mode_coverage(sample(gan, latent), dataset.centers, dataset.sigma)
    rows = read_metrics(summary.metrics)
    return Recording(name, camera.frames, rows, summary.seconds, coverage)
