"""What is shown of a run is what was measured, once, however often it was resumed."""

import json
import sys
from types import SimpleNamespace

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from adaconv.train import TrainingInterruptedError


def shown(out) -> dict[str, list[tuple[int, float]]]:
    """Steps and values by name, as TensorBoard reads them."""
    events = EventAccumulator(str(out / "tensorboard")).Reload()
    return {n: [(e.step, e.value) for e in events.Scalars(n)] for n in events.Tags()["scalars"]}


def test_tensorboard_has_the_metrics(trainer):
    run = trainer(steps=3, log_every=1)
    run.run()
    rows = [json.loads(line) for line in run.metrics.path.read_text().splitlines()]
    found = shown(run.out)
    assert set(found) == {key for row in rows for key in row} - {"step", "machine"}
    for name, points in found.items():
        assert [step for step, _ in points] == [1, 2, 3]
        expected = [row[name] for row in rows]
        assert [value for _, value in points] == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_no_step_is_doubled_by_a_resumption(trainer, tiny):
    gan = tiny()

    def stop(name: str, count: int) -> None:
        if (name, count) == ("generator", 3):
            raise TrainingInterruptedError("killed in step 4")

    gan.hook = stop
    with pytest.raises(TrainingInterruptedError):  # steps 1, 2, 3 are shown, 2 is saved
        trainer(gan=gan, steps=6, log_every=1, checkpoint_every=2).run()
    run = trainer(steps=6, log_every=1)
    run.run(resume=True)
    rows = [json.loads(line) for line in run.metrics.path.read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert [row["step"] for row in rows if "machine" in row] == [1, 3]
    losses = shown(run.out)["generator_loss"]
    assert [step for step, _ in losses] == [1, 2, 3, 4, 5, 6]
    assert losses[2][1] == pytest.approx(rows[2]["generator_loss"], abs=1e-6)


class FakeRun:
    """Keeps what a run of Weights & Biases is told."""

    def __init__(self, **settings) -> None:
        self.settings, self.logged, self.finished = settings, [], False

    def log(self, values, step) -> None:
        assert not self.finished
        self.logged.append((step, values))

    def finish(self) -> None:
        self.finished = True


def test_wandb_goes_on_with_its_run(trainer, monkeypatch):
    runs = []
    package = SimpleNamespace(init=lambda **settings: runs.append(FakeRun(**settings)) or runs[-1])
    monkeypatch.setitem(sys.modules, "wandb", package)
    for steps in (2, 3):
        trainer(steps=steps, log_every=1, wandb=True).run(resume=steps > 2)
    first, second = runs
    assert first.settings["id"] == second.settings["id"]
    assert second.settings["resume"] == "allow"
    assert second.settings["config"]["backend"] == "reference"
    assert [step for run in runs for step, _ in run.logged] == [1, 2, 3]
    assert set(first.logged[0][1]) == set(shown(trainer().out))
    assert first.finished
    assert second.finished


@pytest.mark.parametrize(
    ("package", "extras"), [("wandb", "wandb"), ("torch.utils.tensorboard", "train")]
)
def test_a_missing_package_is_named(package, extras, trainer, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ModuleNotFoundError, match=rf"{package}.*\n?.*adaconv\[{extras}\]"):
        trainer(wandb=True)
