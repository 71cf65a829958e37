"""What a run that was stopped goes on from, however it was stopped."""

import json
import random
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from adaconv.train import Checkpoint, TrainingInterruptedError
from adaconv.train.archive import join, split
from adaconv.train.files import leftovers
from adaconv.train.random import random_state, set_random_state

CPU = torch.device("cpu")


def state(run) -> tuple[object, dict[str, torch.Tensor]]:
    """All that a run saved but the time it took."""
    saved = Checkpoint.load(run.out / "checkpoint.safetensors")
    return split({name: value for name, value in vars(saved).items() if name != "seconds"})


def assert_same(one, other) -> None:
    """Equal to the bit."""
    (plain, tensors), (expected_plain, expected) = state(one), state(other)
    assert plain == expected_plain
    assert [name for name in expected if not tensors[name].equal(expected[name])] == []


@pytest.mark.parametrize(
    "settings",
    [
        {"ema": 0.5, "schedule": "cosine"},
        {"channels_last": True, "accumulate": 2, "schedule": "linear"},
        {"precision": "bf16-mixed", "ema": 0.9},
    ],
    ids=str,
)
def test_settings_are_resumed_exactly(trainer, settings):
    settings = {"steps": 6, **settings}
    whole = trainer("whole", **settings)
    whole.run()
    stopped = trainer("stopped", **settings)
    third = 2 * settings.get("accumulate", 1)
    stopped.gan.hook = lambda side, count: (
        signal.raise_signal(signal.SIGTERM) if (side, count) == ("generator", third) else None
    )
    with pytest.raises(TrainingInterruptedError, match="SIGTERM after step 3"):
        stopped.run()
    torch.manual_seed(999)
    resumed = trainer("stopped", **settings)
    resumed.run(resume=True)
    assert_same(resumed, whole)
    for side, optimizer in resumed.updates.optimizers.items():
        for parameter, values in optimizer.state.items():
            assert values["exp_avg"].stride() == parameter.stride(), side


def test_every_random_generator_is_restored():
    def drawn() -> tuple[float, ...]:
        return torch.rand(()).item(), float(np.random.randn()), random.random(), random.gauss(0, 1)

    rest, tensors = split(random_state(CPU))
    expected = drawn()
    assert drawn() != expected
    set_random_state(CPU, join(json.loads(json.dumps(rest)), tensors))
    assert drawn() == expected


def test_a_disk_that_is_full_stops_the_run_and_keeps_the_checkpoint(trainer, tmp_path):
    whole = trainer("whole", steps=8, checkpoint_every=2)
    whole.run()
    trainer(steps=4, checkpoint_every=2).run()
    path = tmp_path / "run" / "checkpoint.safetensors"
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, hard))
    try:
        with pytest.raises(
            OSError,
            match=r"step 6 could not be recorded: File too large \(.*"
            r"checkpoint\.safetensors\); the last checkpoint is ",
        ):
            trainer(steps=8, checkpoint_every=2).run(resume=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before
    assert leftovers(tmp_path) == []
    resumed = trainer(steps=8, checkpoint_every=2)
    resumed.run(resume=True)
    assert_same(resumed, whole)


def test_what_a_killed_process_left_is_removed(trainer, tmp_path):
    torn = [
        tmp_path / "run" / name for name in (".checkpoint.safetensors.7.tmp", "samples/.a.7.tmp")
    ]
    (tmp_path / "run").mkdir()
    torn[0].write_bytes(b"half")
    trainer(steps=1).run()  # there is no run yet
    assert not torn[0].exists()
    for path in torn:
        path.write_bytes(b"half")
    (tmp_path / "run" / ".mine.tmp").write_bytes(b"whole")
    trainer(steps=2).run(resume=True)
    assert not any(path.exists() for path in torn)
    assert (tmp_path / "run" / ".mine.tmp").exists()


@pytest.mark.slow
def test_a_run_that_is_killed_fifty_times_ends_as_one_that_is_not(tmp_path):
    program = Path(__file__).with_name("killed.py")
    done = subprocess.run(
        [sys.executable, program, tmp_path, "50"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
