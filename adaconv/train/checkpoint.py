"""Checkpoints: one file with all that is needed to sample from a GAN, or to go on training it."""

import json
import os
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from adaconv import models
from adaconv.data._extra import extra
from adaconv.models import GAN
from adaconv.train.archive import checksum, join, split
from adaconv.train.files import replacing

FORMAT = "adaconv checkpoint"
VERSION = "2"


class CheckpointError(ValueError):
    """A file is no checkpoint of adaconv, or not one of this model; the message says why."""


@dataclass(frozen=True)
class Checkpoint:
    """The state of a training run after ``step`` updates of the generator.

    The file is one of safetensors: a table of tensors, and text. The text is JSON and holds what is
    no tensor, a version, and a checksum of everything.
    """

    model: dict[str, Any]
    """Arguments of :func:`adaconv.models.create` that make the model."""
    networks: dict[str, Any]
    """State of the model."""
    step: int
    seconds: float = 0.0
    """Time spent training so far."""
    run: dict[str, Any] = field(default_factory=dict)
    """Settings that a resumed run must share."""
    config: dict[str, Any] = field(default_factory=dict)
    """All settings."""
    average: dict[str, Any] = field(default_factory=dict)
    """State of the generator whose weights are running means, if there is one."""
    optimizers: dict[str, Any] = field(default_factory=dict)
    """State of each optimiser."""
    schedules: dict[str, Any] = field(default_factory=dict)
    """State of the learning rate of each."""
    scalers: dict[str, Any] = field(default_factory=dict)
    """State of the factor on each loss, where half precision needs one."""
    random: dict[str, Any] = field(default_factory=dict)
    """State of the random number generators."""
    data: dict[str, Any] = field(default_factory=dict)
    """Position in the stream of images."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the checkpoint to ``path``, which always holds a whole one: the last or this.

        Raises:
            TypeError: an entry is neither a tensor nor a plain value; nothing was written.
            OSError: it cannot be written.
        """
        with extra("writing checkpoints"):
            from safetensors.torch import save
        rest, tensors = split({f.name: getattr(self, f.name) for f in fields(self)})
        text = json.dumps(rest)
        about = {"format": FORMAT, "version": VERSION, "checksum": checksum(text, tensors)}
        content = save(tensors, {**about, "content": text})
        with replacing(path) as file:
            file.write(content)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Checkpoint":
        """Read a checkpoint, with its tensors on the CPU. There is no code in such a file.

        Raises:
            FileNotFoundError: there is no such file.
            CheckpointError: the file is damaged, foreign, or of another version.
        """
        with extra("reading checkpoints"):
            from safetensors import SafetensorError, safe_open
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"there is no checkpoint at {path}")
        try:
            with safe_open(path, "pt") as file:
                about = file.metadata() or {}
                _check(path, about)
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except SafetensorError as error:
            raise CheckpointError(f"{path} is damaged or no checkpoint ({error})") from error
        if about.get("checksum") != checksum(about.get("content", ""), tensors):
            raise CheckpointError(f"{path} is damaged (its checksum is of another content)")
        content = join(json.loads(about["content"]), tensors)
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
        """Make the model anew and put the networks' state into it.

        Its generator has the running means of the weights, if there are such.
        """
        gan = models.create(**self.model)
        self.restore(gan)
        if self.average:
            gan.generator.load_state_dict(self.average)
        return gan


def _check(path: Path, about: dict[str, str]) -> None:
    """Raise unless the text in a file says that it is a checkpoint of this version."""
    if about.get("format") != FORMAT:
        raise CheckpointError(f"{path} is not a checkpoint of adaconv")
    version = about.get("version")
    if version != VERSION:
        raise CheckpointError(f"{path} has version {version}, this adaconv reads {VERSION}")


def _call(config: dict[str, Any]) -> str:
    """``{"name": "adagan-3x3", "width": 0.5}`` as ``adagan-3x3(width=0.5)``."""
    options = ", ".join(f"{key}={value!r}" for key, value in config.items() if key != "name")
    return f"{config.get('name')}({options})"
