"""Wrong usage, as opposed to failure."""

import contextlib
import importlib
from collections.abc import Iterator
from types import ModuleType

import torch

import adaconv
from adaconv.nn._names import unknown
from adaconv.train import Checkpoint


class UsageError(Exception):
    """The command cannot be carried out as it was given; nothing was done."""


@contextlib.contextmanager
def usage() -> Iterator[None]:
    """Inside the ``with`` block, bad values and missing files are the user's to mend."""
    try:
        yield
    except (ValueError, FileNotFoundError) as error:
        raise UsageError(error) from error


def check_backends(*names: str | None) -> None:
    """Check that the backends exist; None stands for a free choice."""
    known = adaconv.backends()
    for name in names:
        if name is not None and name not in known:
            raise UsageError(unknown("backend", name, known))


def bench_module(name: str | None = None, extras: str = "bench") -> ModuleType:
    """Import the benchmarks, or a module of them; what they need is installed with the extras."""
    try:
        package = importlib.import_module("adaconv_bench")
        return package if name is None else importlib.import_module(f"adaconv_bench.{name}")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"adaconv bench needs a package that is missing ({error}): "
            f"pip install 'adaconv[{extras}]'"
        ) from error


def set_threads(count: int | None) -> None:
    """Let torch compute with so many threads; None leaves its own choice."""
    if count is None:
        return
    if count < 1:
        raise UsageError(f"--threads must be at least 1, got {count}")
    torch.set_num_threads(count)


def data_of(checkpoint: Checkpoint, given: str | None) -> str:
    """Return the data that were given, or else those that the model was trained on.

    Raises:
        ValueError: the checkpoint does not say which these are.
    """
    spec = given or checkpoint.run.get("data")
    if spec is None:
        raise ValueError("the checkpoint does not say what it was trained on: give --data")
    return spec
