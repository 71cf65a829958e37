"""What a page shows of one run, or in words why it cannot."""

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from adaconv import data
from adaconv.data import TensorData
from adaconv.explore import SHEETS, Subject
from adaconv.report.kernels import Profile, measure
from adaconv.report.run import Run
from adaconv.train.checks import CHECKPOINT
from adaconv.train.images import grid, png

#: Pictures of the samples over time, the first and the last among them.
MOMENTS = 6
#: Rows of each sheet.
ROWS = 5
#: Metrics whose last value is told: name → title.
LAST = {
    "images_per_second": "real images per second",
    "diversity": "diversity",
    "modes": "modes hit",
    "test_accuracy": "accuracy",
}


@dataclass(frozen=True)
class Picture:
    """An image inside the page, and what stands below it."""

    source: str
    caption: str

    @classmethod
    def of(cls, content: bytes, caption: str) -> "Picture":
        """Take a PNG into the page."""
        return cls(f"data:image/png;base64,{base64.b64encode(content).decode()}", caption)


@dataclass(frozen=True)
class Part:
    """What is shown of a run, or why there is nothing."""

    run: str
    content: Any = None
    lacks: str = ""


class View:
    """A run and its model, seen from several sides.

    Args:
        run: the run.
        spec: training images; by default those that the checkpoint names.
        seed: seed of the latents, and of what is drawn of the data.
    """

    def __init__(self, run: Run, spec: str | None, seed: int) -> None:
        self.run, self.seed = run, seed
        self.gan = run.checkpoint.create()
        self._spec = spec or run.checkpoint.run.get("data")

    def part(self, make: Callable[[], Any]) -> Part:
        """Return what ``make`` returns, or why it cannot: the data are elsewhere, say."""
        try:
            return Part(self.run.name, make())
        except (ValueError, OSError, ImportError) as error:
            return Part(self.run.name, lacks=str(error))

    @cached_property
    def subject(self) -> Subject:
        """The model as :mod:`adaconv.explore` takes it."""
        return Subject(self.gan, self._spec or "", rows=ROWS, seed=self.seed)

    @cached_property
    def dataset(self) -> TensorData:
        """What the model learned."""
        if self._spec is None:
            raise ValueError("the checkpoint does not say what it was trained on")
        points = self.gan.config.get("points")
        return data.load(self._spec) if points else self.subject.dataset

    def facts(self) -> dict[str, str]:
        """What was trained, on what, how far, and what was measured at the end."""
        checkpoint = self.run.checkpoint
        found = {
            "model": checkpoint.model["name"],
            "data": checkpoint.run.get("data", "not told"),
            "steps": f"{checkpoint.step:,}",
            "time": duration(checkpoint.seconds),
        }
        for key, title in LAST.items():
            if self.run.last(key) is not None:
                found[f"{title}, at the end"] = f"{self.run.last(key):.4g}"
        return found

    def summary(self) -> dict[str, str]:
        """The facts, and the last score of each kind."""
        return self.facts() | {
            score["metric"]: f"{score['value']:.4g} (floor {score['floor']:.4g})"
            for score in self.run.scores
        }

    def settings(self) -> dict[str, str]:
        """The arguments that make the model, and those that a resumed run must share."""
        checkpoint = self.run.checkpoint
        return {key: str(value) for key, value in (checkpoint.model | checkpoint.run).items()}

    def machine(self) -> dict[str, str]:
        """What the run was computed with; where it was resumed elsewhere, both."""
        found: dict[str, dict[str, None]] = {}
        for machine in self.run.machines:
            for key, value in machine.items():
                found.setdefault(key, {})[value] = None
        return {key: ", then ".join(values) for key, values in found.items()}

    def scores(self) -> list[Mapping[str, Any]]:
        """Lines of scores, as they were appended."""
        if not self.run.scores:
            raise ValueError(
                f"not evaluated yet: adaconv eval {self.run.folder / CHECKPOINT} appends scores"
            )
        return list(self.run.scores)

    def evolution(self) -> list[Picture]:
        """Samples of the same latents at steps from the first to the last."""
        steps = sorted(self.run.pictures)
        if not steps:
            raise ValueError(f"there are no pictures in {self.run.folder / 'samples'}")
        last = len(steps) - 1
        chosen = dict.fromkeys(steps[round(last * i / (MOMENTS - 1))] for i in range(MOMENTS))
        return [Picture.of(self.run.pictures[s].read_bytes(), f"step {s:,}") for s in chosen]

    def sheet(self, name: str) -> list[tuple[str, list[Picture]]]:
        """Names and pictures of the rows of a sheet."""
        if name == "neighbours":
            self.dataset  # noqa: B018  (what is wrong with it is told before it is looked for)
        found = []
        for row in SHEETS[name].rows(self.subject):
            captions = [*row.captions, *[""] * len(row.images)]
            images = (png(grid(image[None], gap=0)) for image in row.images)
            found.append((row.name, [Picture.of(*each) for each in zip(images, captions)]))  # noqa: B905
        return found

    def profile(self, steps: int) -> Profile:
        """The kernels of some more training steps."""
        if steps == 0:
            raise ValueError("left out, as was asked for")
        settings = self.run.checkpoint.run
        return measure(
            self.gan,
            self.dataset,
            steps,
            batch_size=settings.get("batch_size", self.gan.batch_size),
            n_dis=settings.get("n_dis", self.gan.n_dis),
            seed=self.seed,
        )


def duration(seconds: float) -> str:
    """Say how long something took.

    >>> duration(59.6), duration(7300)
    ('1 min 0 s', '2 h 1 min')
    """
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min {rest} s"
