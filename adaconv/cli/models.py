"""``adaconv models``."""

from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

import adaconv
from adaconv import models as systems
from adaconv.data import Labelled

#: Columns of what goes into a file or a pipe.
WIDE = 240
#: Images that the cost is computed for.
BATCH = 4


def models(*, image_size: int = 32, width: float = 1.0) -> None:
    """List the models: parameters, cost, options, status, and what they were published in.

    The parameters are those of the two sides. The cost is that of a training step, all its updates
    forward and backward, in GFLOP for each image of the batch, as plain PyTorch computes it; an
    addition and a multiplication count as two. The status of a model that cannot make the images
    says which it can make.

    Args:
        image_size: Height and width of the images in pixels; a model that cannot make them says so.
        width: Factor on the number of channels.
    """
    table = Table(
        "model", "generator", "discriminator", "cost", "options", "source", "status", box=None
    )
    for name in systems.names():
        *numbers, status = _numbers(name, image_size, width)
        table.add_row(
            name,
            *numbers,
            ", ".join(systems.options(name)),
            systems.source(name),
            status,
        )
    console = Console()
    if not console.is_terminal:
        console.width = WIDE
    console.print(table)


def _numbers(name: str, image_size: int, width: float) -> list[str]:
    """Parameters of both sides, GFLOP of a training step for each image, and the status."""
    try:
        with torch.device("meta"):
            gan = systems.create(name, image_size, width)
    except ValueError as error:
        return ["", "", "", str(error)]
    sides = (gan.parameters_of(side) for side in ("generator", "discriminator"))
    counts = [f"{sum(p.numel() for p in parameters):,}" for parameters in sides]
    return [*counts, f"{_flops(gan) / 1e9:.3g}", "ready"]


def _flops(gan: systems.GAN) -> float:
    """Floating-point operations of a training step for each image; nothing is computed."""
    with torch.device("meta"), adaconv.backend("reference"), _Counter() as counter:
        values = torch.empty(BATCH, 3, gan.image_size, gan.image_size)
        real = Labelled(values, torch.empty(BATCH, dtype=torch.long)) if gan.labelled else values
        for sides in gan.turns(gan.n_dis):
            for side in sides:
                data = {"real": real} if side in gan.data_sides else {}
                getattr(gan, f"{side}_loss")(latent=gan.latent(BATCH), **data).backward()
    return counter.flops / BATCH


class _Counter(TorchDispatchMode):
    """Counts the operations of matrix products and convolutions, those of gradients included.

    :class:`torch.utils.flop_counter.FlopCounterMode` follows modules as well, and therefore refuses
    :func:`torch.autograd.grad`, of which gradient penalties are made.
    """

    flops = 0

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Call the function and count."""
        kwargs = kwargs or {}
        result = function(*args, **kwargs)
        formula = flop_registry.get(function.overloadpacket)
        if formula is not None:
            self.flops += formula(*args, **kwargs, out_val=result)
        return result
