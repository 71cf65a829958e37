"""A run whose process is killed again and again: killed.py FOLDER TIMES.

PyTorch is imported once; each time a child that is forked resumes the run.
"""

import os
import random
import signal
import sys
import time
import traceback
from pathlib import Path

import torch
from conftest import SIZE, TinyGAN
from rich.console import Console

from adaconv import data
from adaconv.train import Checkpoint, TrainConfig, Trainer

#: Most of the time something is being written.
OFTEN = {"checkpoint_every": 1, "log_every": 1, "sample_every": 3}


def train(out: Path, steps: int, **settings: int) -> None:
    """Train, or go on training where there is something to go on with."""
    resume = (out / "checkpoint.safetensors").exists()
    torch.manual_seed(os.getpid() if resume else 0)
    values = torch.arange(20 * 3 * SIZE**2).remainder(251).byte().reshape(20, 3, SIZE, SIZE)
    pictures = data.ImageData(name="pictures", split="train", licence="none", values=values)
    config = TrainConfig(steps=steps, samples=4, backend="reference", accelerator="cpu", **settings)
    Trainer(TinyGAN(), pictures, out, config, Console(quiet=True)).run(resume=resume)


def child(out: Path) -> int:
    """Return the process id of a child that trains without end."""
    pid = os.fork()
    if pid == 0:
        try:
            train(out, 10**6, **OFTEN)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    return pid


def main(folder: Path, times: int) -> None:
    torch.set_num_threads(1)
    chance = random.Random(0)
    train(folder / "first", 1)  # imports what a child should not have to
    start = time.monotonic()
    train(folder / "first", 9, **OFTEN)
    longest = 2 * (time.monotonic() - start)
    out = folder / "killed"
    torn = 0
    for _ in range(times):
        pid = child(out)
        time.sleep(chance.uniform(0, longest))
        os.kill(pid, signal.SIGKILL)
        status = os.waitpid(pid, 0)[1]
        if not os.WIFSIGNALED(status):
            sys.exit("a child could not go on with the run")
        torn += any(out.rglob(".*.tmp"))
    steps = Checkpoint.load(out / "checkpoint.safetensors").step + 1
    train(out, steps)
    train(folder / "whole", steps)
    found, expected = (
        Checkpoint.load(folder / name / "checkpoint.safetensors").networks
        for name in ("killed", "whole")
    )
    different = [name for name, value in expected.items() if not value.equal(found[name])]
    if different or steps < times:
        sys.exit(f"after {steps} steps these differ: {different}")
    print(f"killed {times} times, {torn} of them while a file was written; {steps} steps")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
