"""``adaconv models``."""

import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from adaconv import models as systems

#: Columns of what goes into a file or a pipe.
WIDE = 240


def models(*, image_size: int = 32, width: float = 1.0) -> None:
    """List the models: parameters of both networks, options, and what they were published in.

    Args:
        image_size: Height and width of the images in pixels; a model that cannot make them says so.
        width: Factor on the number of channels.
    """
    table = Table("model", "generator", "discriminator", "options", "source", box=None)
    for name in systems.names():
        table.add_row(
            name,
            *_parameters(name, image_size, width),
            ", ".join(systems.options(name)),
            systems.source(name),
        )
    console = Console()
    if not console.is_terminal:
        console.width = WIDE
    console.print(table)


def _parameters(name: str, image_size: int, width: float) -> tuple[str, str]:
    """Numbers of parameters of the two networks, or why there are none."""
    try:
        with torch.device("meta"):
            gan = systems.create(name, image_size, width)
    except ValueError as error:
        return str(error), ""
    return _count(gan.generator), _count(gan.discriminator)


def _count(network: nn.Module) -> str:
    return f"{sum(p.numel() for p in network.parameters()):,}"
