"""What a grid of weights loses and saves: blocks that have one, fitted to a block without.

A network's layer in small: an adaptive block learns to remove noise from features of pictures. A
block that regresses its weights on a grid starts from the parameters of that block, and learns its
outputs. So does an ordinary convolution, from the part of the block that is one: it shows what
weights that are the same everywhere would lose.
"""

import copy
import json as json_
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from rich import box
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

import adaconv
from adaconv.data import ImageData, load
from adaconv.nn import AdaConvBlock, LocalAdaConvBlock
from adaconv_bench import machine, table
from adaconv_bench.gate import FULL_SIZE, Verdict, relative_error
from adaconv_bench.race import CHECKED, STEP, turn_of
from adaconv_bench.registry import Problem, adaconv_provider
from adaconv_bench.results import replace_file
from adaconv_bench.timing import Budget, Ratio, interleave

#: Pictures to learn from, and those that errors are measured on.
TRAIN, HELD_OUT = 256, 64

#: Standard deviation of the noise over that of the features.
NOISE = 0.5

#: Learning rate of Adam.
RATE = 2e-3

#: Relative error of gradients that is no fault: an activation near 0 falls to either side.
GRADIENT_SLACK = 5e-3


@dataclass(frozen=True)
class Finding:
    """What was found out about one module.

    Attributes:
        module: what it is.
        before: relative error of its outputs for held-out pictures, with the parameters it starts
            from.
        after: the same when it was fitted.
        speedup: how many times longer a step of the exact block takes, forward and backward.
        verdict: whether the fitted module computes what the specification does.
    """

    module: str
    before: float
    after: float
    speedup: float
    verdict: Verdict


@dataclass(frozen=True)
class Pairs:
    """Inputs of a module, and the outputs that it is to have."""

    x: Tensor
    y: Tensor

    def fit(self, module: nn.Module, steps: int, batch: int) -> None:
        """Let Adam bring the outputs near, in mean square."""
        rng = torch.Generator().manual_seed(0)
        optimizer = torch.optim.Adam(module.parameters(), RATE)
        for _ in range(steps):
            rows = torch.randint(len(self.x), (batch,), generator=rng)
            optimizer.zero_grad()
            F.mse_loss(module(self.x[rows]), self.y[rows]).backward()
            optimizer.step()

    def error(self, module: nn.Module) -> float:
        """Return ``‖module(x) - y‖ / ‖y‖``."""
        with torch.no_grad():
            return relative_error(module(self.x), self.y)


def run(
    *,
    data: str = "twemoji",
    channels: int = 32,
    size: int = 32,
    batch: int = 4,
    steps: int = 150,
    pitch: Sequence[int] = (2, 4, 8),
    neighbours: Sequence[int] = (4, 9),
    backend: str | None = None,
    threads: int | None = None,
    json: Path | None = None,
) -> int:
    """Fit blocks with grids of weights to the exact block; show their errors and their time.

    Args:
        data: images, as :func:`adaconv.data.load` names them.
        channels: of input and output.
        size: height and width of the pictures.
        batch: pictures per step.
        steps: of Adam, for every module.
        pitch: distances of the grids' points.
        neighbours: points that a pixel's weights are mixed from, 4 or 9.
        backend: backend of adaconv; ``None`` lets adaconv choose.
        threads: threads that torch computes with; ``None`` leaves torch's own choice.
        json: file to write every number to.

    Returns:
        The exit code: 0 where every module computed what it should, 1 otherwise.

    Raises:
        ValueError: a number is too small, or data or backend are unknown.
    """
    for name, number in (
        ("channels", channels), ("size", size), ("batch", batch), ("steps", steps),
        ("threads", threads or 1),
    ):  # fmt: skip
        if number < 1:
            raise ValueError(f"{name} must be at least 1, got {number}")
    ours, console = adaconv_provider(backend), table.console()
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        with torch.random.fork_rng(devices=[]), ours.active(), console.status("fitting"):
            torch.manual_seed(0)
            exact, train, held_out = _exact(data, channels, size, steps, batch)
            findings = []
            for name, module in _candidates(exact, pitch, neighbours).items():
                start = held_out.error(module)
                train.fit(module, steps, batch)
                findings.append(
                    Finding(
                        name, start, held_out.error(module),
                        _speedup(exact, module, train.x[:batch]),
                        _check(module, held_out.x[:CHECKED]),
                    )
                )  # fmt: skip
        described = machine.describe()
    finally:
        torch.set_num_threads(before)
    task = f"{channels}→{channels} @{size}², {data}, batch {batch}, {steps} steps"
    _show(task, findings, described, console)
    if json is not None:
        content = {"task": task, "machine": described, "findings": list(map(asdict, findings))}
        replace_file(json, json_.dumps(content, indent=2, ensure_ascii=False).encode() + b"\n")
    return 0 if all(finding.verdict.green for finding in findings) else 1


def _exact(
    data: str, channels: int, size: int, steps: int, batch: int
) -> tuple[AdaConvBlock, Pairs, Pairs]:
    """Return the exact block, and its outputs for pictures to learn from and for held-out ones."""
    features = torch.randn(channels, 3, 3, 3) / 27**0.5
    clean = [
        F.leaky_relu(F.conv2d(pictures, features, padding=1), 0.2)
        for pictures in (
            _pictures(data, "train", TRAIN, size),
            _pictures(data, "test", HELD_OUT, size),
        )
    ]
    noisy = [y + NOISE * y.std() * torch.randn(y.shape) for y in clean]
    block = AdaConvBlock(channels, channels, 3, padding=1)
    with torch.no_grad():
        for name, parameter in block.named_parameters():
            if name.endswith("weight"):
                parameter.normal_().div_(parameter[0].numel() ** 0.5)
    Pairs(noisy[0], clean[0]).fit(block, steps, batch)
    with torch.no_grad():
        train, held_out = (Pairs(x, block(x)) for x in noisy)
    return block, train, held_out


def _pictures(data: str, split: str, count: int, size: int) -> Tensor:
    """Return some images of a split, (N, 3, size, size)."""
    images = load(data, split=split, image_size=size)
    if not isinstance(images, ImageData):
        raise ValueError(f"data must be of images, got {data}")
    return images.__getitems__(torch.randperm(len(images))[:count].tolist())


def _candidates(
    exact: AdaConvBlock, pitch: Sequence[int], neighbours: Sequence[int]
) -> dict[str, nn.Module]:
    """Return the modules, with what parameters of the exact block they have."""
    channels = exact.in_channels
    ordinary = nn.Conv2d(channels, channels, 3, padding=1)
    ordinary.load_state_dict({"weight": exact.bias_weight, "bias": exact.bias})
    found: dict[str, nn.Module] = {"Conv2d": ordinary}
    for points in neighbours:
        for distance in pitch:
            block = LocalAdaConvBlock(
                channels, channels, 3, padding=1, pitch=distance, neighbours=points
            )
            block.load_state_dict(exact.state_dict(), strict=False)
            found[f"LocalAdaConvBlock, pitch {distance}, J = {points}"] = block
    return found


def _problem(module: nn.Module, x: Tensor) -> Problem:
    """Return a call of the module, with leaves and an upstream gradient of its own."""
    x = x.clone().requires_grad_()
    cotangent = torch.randn(x.shape, generator=torch.Generator().manual_seed(0)).to(x.dtype)
    return Problem(lambda: module(x), {"x": x, **dict(module.named_parameters())}, cotangent)


def _speedup(exact: nn.Module, module: nn.Module, x: Tensor) -> float:
    """Return how many times longer the exact block takes, forward and backward."""
    here = adaconv_provider(None)
    turns = {name: turn_of(_problem(m, x), here) for name, m in (("a", module), ("b", exact))}
    samples = interleave(turns, Budget(seconds=1.0), warm_up=1)
    return Ratio.of(samples["a"][STEP], samples["b"][STEP]).pairs


def _check(module: nn.Module, x: Tensor) -> Verdict:
    """Compare values and gradients of a fitted module with those of the specification in fp64."""
    found = _problem(module, x).results()
    with adaconv.backend("reference"):
        expected = _problem(copy.deepcopy(module).double(), x.double()).results()
    bounds = {name: FULL_SIZE if name == "y" else GRADIENT_SLACK for name in expected}
    return Verdict({n: relative_error(found[n], expected[n]) for n in bounds}, bounds)


def _show(task: str, findings: Sequence[Finding], described: dict, target: Console) -> None:
    """Print the machine, errors and times, and the verdict of the checks."""
    table.show_machine(described, target)
    shown = Table(title=task, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    shown.add_column("fitted to AdaConvBlock")
    for header in ("error before", "after", "faster than it"):
        shown.add_column(header, justify="right")
    for finding in findings:
        cells = f"{finding.before:.1%}", f"{finding.after:.1%}", f"{finding.speedup:.1f}×"
        shown.add_row(finding.module, *(cells if finding.verdict.green else ["wrong result"]))
    target.print(shown)
    red = [f"gate: {f.module}: {f.verdict}" for f in findings if not f.verdict.green]
    count = sum(len(finding.verdict.errors) for finding in findings)
    gate = red or [f"gate: green, {count} checks of values and gradients passed"]
    target.print(*gate, sep="\n", markup=False, style="bold red" if red else "green")
