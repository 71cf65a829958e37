"""Checkpoints: one file with all that is needed to sample from a GAN, or to go on training it."""

import os
import pickle
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch

from adaconv import models
from adaconv.models import GAN
from adaconv.train.files import replacing

FORMAT = "adaconv checkpoint"
VERSION = 1


class CheckpointError(ValueError):
    """A file is no checkpoint of adaconv, or not one of this model; the message says why."""


@dataclass(frozen=True)
class Checkpoint:
    """The state of a training run after ``step`` updates of the generator."""

    model: dict[str, Any]
    """Arguments of :func:`adaconv.models.create` that make the model."""
    networks: dict[str, Any]
    """State of the model."""
    step: int
    seconds: float = 0.0
    """Time spent training so far."""
    run: dict[str, Any] = field(default_factory=dict)
    """Settings that a resumed run must share."""
    optimizers: dict[str, Any] = field(default_factory=dict)
    """State of each optimiser."""
    random: dict[str, Any] = field(default_factory=dict)
    """State of the random number generators."""
    data: dict[str, Any] = field(default_factory=dict)
    """Position in the stream of images."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the checkpoint to ``path``, which always holds a whole one: the last or this."""
        content = {f.name: getattr(self, f.name) for f in fields(self)}
        with replacing(path) as file:
            torch.save({"format": FORMAT, "version": VERSION, **content}, file)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Checkpoint":
        """Read a checkpoint, with its tensors on the CPU. No code in the file is ever run.

        Raises:
            FileNotFoundError: there is no such file.
            CheckpointError: the file is damaged, foreign, or of a later version.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"there is no checkpoint at {path}")
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # a damaged file can fail anywhere in the unpickler
            raise CheckpointError(
                f"{path} is damaged or no checkpoint ({_first_line(error)})"
            ) from error
        if not isinstance(content, dict) or content.pop("format", None) != FORMAT:
            raise CheckpointError(f"{path} is not a checkpoint of adaconv")
        version = content.pop("version", None)
        if version != VERSION:
            raise CheckpointError(f"{path} has version {version!r}, this adaconv reads {VERSION}")
        expected = {f.name for f in fields(cls)}
        if set(content) != expected:
            raise CheckpointError(
                f"{path} must have the entries {sorted(expected)}, got {sorted(content)}"
            )
        return cls(**content)

    def restore(self, gan: GAN) -> None:
        """Put the networks' state into ``gan``.

        Raises:
            CheckpointError: the checkpoint is of another model.
        """
        if self.model != gan.config:
            raise CheckpointError(
                f"the checkpoint is of another model: it holds {_call(self.model)}, "
                f"expected {_call(gan.config)}"
            )
        try:
            gan.load_state_dict(self.networks)
        except RuntimeError as error:
            raise CheckpointError(f"the checkpoint does not fit {gan.name}: {error}") from error

    def create(self) -> GAN:
        """Make the model anew and put the networks' state into it."""
        gan = models.create(**self.model)
        self.restore(gan)
        return gan


def _first_line(error: Exception) -> str:
    """What went wrong, in short; torch's advice to load the file unsafely is not passed on."""
    if isinstance(error, pickle.UnpicklingError):
        return "it does not hold just tensors and plain values"
    return (str(error) or type(error).__name__).splitlines()[0]


def _call(config: dict[str, Any]) -> str:
    """``{"name": "adagan-3x3", "width": 0.5}`` as ``adagan-3x3(width=0.5)``."""
    options = ", ".join(f"{key}={value!r}" for key, value in config.items() if key != "name")
    return f"{config.get('name')}({options})"
