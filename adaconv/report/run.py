"""A training run as its folder has it."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adaconv.eval import SCORES, read_scores
from adaconv.train import Checkpoint, read_metrics
from adaconv.train.checks import CHECKPOINT
from adaconv.train.trainer import METRICS

#: What a folder must have to be a run.
PARTS = (METRICS, CHECKPOINT)


@dataclass(frozen=True)
class Run:
    """What training, and the commands after it, left in a folder."""

    name: str
    folder: Path
    rows: Sequence[Mapping[str, Any]]
    """Lines of metrics."""
    checkpoint: Checkpoint
    scores: Sequence[Mapping[str, Any]]
    """Lines of scores; none where the checkpoint was not evaluated."""
    pictures: Mapping[int, Path]
    """Samples of the same latents, by step."""

    @classmethod
    def read(cls, folder: str | os.PathLike[str], name: str | None = None) -> "Run":
        """Read the folder of a run.

        Raises:
            FileNotFoundError: there is no such folder.
            ValueError: it is no run, half a run, or a file of it is damaged.
        """
        folder = Path(folder)
        if not folder.is_dir():
            raise FileNotFoundError(f"there is no run at {folder}: expected the folder of one")
        lacking = [part for part in PARTS if not (folder / part).is_file()]
        if lacking:
            what = "no run" if len(lacking) == len(PARTS) else "half a run"
            raise ValueError(f"{folder} is {what}: it has no {' and no '.join(lacking)}")
        return cls(
            name=name or folder.resolve().name,
            folder=folder,
            rows=read_metrics(folder),
            checkpoint=Checkpoint.load(folder / CHECKPOINT),
            scores=read_scores(folder) if (folder / SCORES).is_file() else [],
            pictures={
                int(path.stem): path
                for path in sorted((folder / "samples").glob("*.png"))
                if path.stem.isdecimal()
            },
        )

    def last(self, key: str) -> Any:
        """Return the last value of a metric, ``None`` where none was measured."""
        return next((row[key] for row in reversed(self.rows) if key in row), None)

    @property
    def machines(self) -> list[Mapping[str, str]]:
        """What the run was computed with, one for each time that it was started or resumed."""
        return [row["machine"] for row in self.rows if "machine" in row]


def read_runs(folders: Iterable[str | os.PathLike[str]]) -> list[Run]:
    """Read runs, named after their folders, or after the whole paths where these are alike.

    Raises:
        FileNotFoundError: a folder does not exist.
        ValueError: a folder is no run, or is named twice; or there are none.
    """
    paths = [Path(folder) for folder in folders]
    if not paths:
        raise ValueError("name the folder of a run at least")
    places = [path.resolve() for path in paths]
    for index, place in enumerate(places):
        if place in places[:index]:
            raise ValueError(f"the runs must be different ones, got {paths[index]} twice")
    alike = len({place.name for place in places}) < len(places)
    return [Run.read(path, str(path) if alike else None) for path in paths]
