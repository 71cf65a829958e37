"""Where metrics can be watched as training goes on."""

import importlib
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from adaconv.data._extra import extra

#: The folder of TensorBoard's event files in a run's, and the file that names the run to W&B.
EVENTS, IDENTITY = "tensorboard", "wandb-id"


class Board(Protocol):
    """Shows the metrics of a run."""

    def show(self, step: int, values: Mapping[str, float]) -> None:
        """Add the values of a step."""

    def close(self) -> None:
        """End; all is written."""


#: (the run's folder, steps that are done, what the run is done with) → a board
Maker = Callable[[Path, int, Mapping[str, Any]], Board]


class TensorBoard:
    """Event files, see ``tensorboard --logdir``.

    Args:
        out: the run's folder.
        done: steps that are done; what an earlier process wrote of later ones is withdrawn.
        settings: not used.
    """

    needs = "torch.utils.tensorboard"

    def __init__(self, out: Path, done: int, settings: Mapping[str, Any]) -> None:
        writer = importlib.import_module(self.needs).SummaryWriter
        self._writer = writer(str(out / EVENTS), purge_step=done + 1)

    def show(self, step: int, values: Mapping[str, float]) -> None:
        """Add the values of a step, each under its name."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        self._writer.close()


class WandB:
    """A run of Weights & Biases, in the project ``adaconv``, which a resumed run goes on with.

    Args:
        out: the run's folder; a file in it keeps the run's identity.
        done: not used: steps that were shown already are dropped there.
        settings: what the run is done with.
    """

    needs = "wandb"

    def __init__(self, out: Path, done: int, settings: Mapping[str, Any]) -> None:
        identity = out / IDENTITY
        if not identity.exists():
            identity.write_text(uuid.uuid4().hex[:12])
        self._run = importlib.import_module(self.needs).init(
            project="adaconv",
            name=out.resolve().name,
            id=identity.read_text(),
            resume="allow",
            dir=str(out),
            config=dict(settings),
        )

    def show(self, step: int, values: Mapping[str, float]) -> None:
        """Add the values of a step."""
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        """End the process's part of the run."""
        self._run.finish()


def boards(*, wandb: bool) -> list[Maker]:
    """Return what makes the boards of a run: TensorBoard, and Weights & Biases if asked for.

    Raises:
        ModuleNotFoundError: the package of one is missing.
    """
    with extra("logging for TensorBoard"):
        importlib.import_module(TensorBoard.needs)
    if not wandb:
        return [TensorBoard]
    with extra("logging for Weights & Biases", "wandb"):
        importlib.import_module(WandB.needs)
    return [TensorBoard, WandB]
