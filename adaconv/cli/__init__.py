"""The command line: one file for each command."""

import functools
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Union, cast

import tyro

from adaconv.cli._usage import UsageError, usage
from adaconv.cli.bench import bench
from adaconv.cli.bench_all import bench_all
from adaconv.cli.bench_cost import bench_cost
from adaconv.cli.bench_locality import bench_locality
from adaconv.cli.bench_roofline import bench_roofline
from adaconv.cli.bench_static import bench_static
from adaconv.cli.bench_train import bench_train
from adaconv.cli.eval import evaluation
from adaconv.cli.explore import explore
from adaconv.cli.info import info
from adaconv.cli.lab import lab
from adaconv.cli.models import models
from adaconv.cli.plot import plot
from adaconv.cli.report import report
from adaconv.cli.sample import sample
from adaconv.cli.share import share
from adaconv.cli.train import train
from adaconv.train import CheckpointError, TrainingInterruptedError

DESCRIPTION = """Adaptive convolutions, and GANs built on them.

    adaconv info                       what runs on this machine
    adaconv models                     list the GANs
    adaconv train adagan-3x3           train a GAN
    adaconv sample CHECKPOINT          draw images with it
    adaconv eval CHECKPOINT            score it: Inception score, FID, KID, precision and recall
    adaconv explore CHECKPOINT         see what it has learned
    adaconv lab                        watch GANs learn points of the plane
    adaconv plot RUN                   draw what training measured
    adaconv report RUN                 see all of it on one page
    adaconv share RUN                  give its model to others
    adaconv bench                      measure the kernels
    adaconv bench all                  measure every operator
    adaconv bench cost                 measure what adaptivity costs
    adaconv bench locality             measure what a grid of weights loses
    adaconv bench train                measure training steps
    adaconv bench roofline             compute what a GPU needs at least
    adaconv bench static               read the machine code of the GPU kernels, without a GPU

`adaconv COMMAND --help` explains a command; --debug, or ADACONV_DEBUG=1, traces an error.

Exit codes: 0 done, 1 failed or interrupted, 2 wrong usage."""

Call = Callable[[], int | None]

#: A command may be of two words.
COMMANDS: dict[str, Callable[..., int | None]] = {
    "info": info,
    "models": models,
    "train": train,
    "sample": sample,
    "eval": evaluation,
    "explore": explore,
    "lab": lab,
    "plot": plot,
    "report": report,
    "share": share,
    "bench": bench,
    "bench all": bench_all,
    "bench cost": bench_cost,
    "bench locality": bench_locality,
    "bench train": bench_train,
    "bench roofline": bench_roofline,
    "bench static": bench_static,
}

#: Errors that a message explains; any other is a fault of the program and shows where it happened.
EXPECTED = (ValueError, RuntimeError, OSError, ImportError)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: the arguments; those of the process by default.

    Returns:
        The exit code: 0 done, 1 failed or interrupted, 2 wrong usage.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in argv or os.environ.get("ADACONV_DEBUG", "0") != "0"
    argv = [argument for argument in argv if argument != "--debug"]
    try:
        with usage():
            command = _parse(argv)
        return command() or 0
    except SystemExit as exit_:  # tyro's: 0 after --help, 2 after a wrong argument
        return exit_.code if isinstance(exit_.code, int) else 2
    except KeyboardInterrupt:
        print("adaconv: interrupted", file=sys.stderr)
        return 1
    except (UsageError, *EXPECTED) as error:
        if debug:
            raise
        print(f"adaconv: {error}{_advice(error, argv)}", file=sys.stderr)
        return 2 if isinstance(error, (UsageError, CheckpointError)) else 1


def _parse(argv: list[str]) -> Call:
    if " ".join(argv[:2]) in COMMANDS:
        argv = [" ".join(argv[:2]), *argv[2:]]
    commands = tuple(
        Annotated[
            Any,
            tyro.conf.subcommand(
                name, constructor=_deferred(command), description=_description(name, argv)
            ),
        ]
        for name, command in COMMANDS.items()
    )
    return tyro.cli(
        cast(Callable[[], Call], Union[commands]),  # noqa: UP007  (a union made at run time)
        prog="adaconv",
        description=DESCRIPTION,
        args=argv,
        config=(
            tyro.conf.DisallowNone,
            tyro.conf.FlagCreatePairsOff,
            tyro.conf.PositionalMetavarFromFieldName,
        ),
    )


def _deferred(command: Callable[..., int | None]) -> Callable[..., Call]:
    """Return the command with its signature, for later: parsing can fail as well as the command."""

    @functools.wraps(command)
    def bind(*args: Any, **options: Any) -> Call:
        return functools.partial(command, *args, **options)

    return bind


def _description(name: str, argv: list[str]) -> str | None:
    """The whole docstring (None) of the command that is called; of the others their first line."""
    return None if argv[:1] == [name] else (COMMANDS[name].__doc__ or "").splitlines()[0]


def _advice(error: Exception, argv: list[str]) -> str:
    if not isinstance(error, TrainingInterruptedError):
        return ""
    again = argv if "--resume" in argv else [*argv, "--resume"]
    return f"\nresume with: {shlex.join(['adaconv', *again])}"
