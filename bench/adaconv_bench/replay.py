"""What the blocks of a network did in a step of training, taken down and computed once more."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from adaconv.nn import AdaConvBlock


@dataclass
class Notes:
    """The last call of a block that had a backward pass.

    Attributes:
        x: the input.
        cotangent: the gradient that arrived at the output.
        results: the output ``y``, and the gradients of ``x`` and of the parameters, by name.
    """

    x: Tensor = field(default_factory=lambda: torch.empty(0))
    cotangent: Tensor = field(default_factory=lambda: torch.empty(0))
    results: dict[str, Tensor] = field(default_factory=dict)


@contextlib.contextmanager
def noting(network: nn.Module) -> Iterator[dict[str, Notes]]:
    """Take down what the network's blocks do inside the ``with`` block, by their names.

    The gradients of the parameters are those that the parameters hold at its end.
    """
    blocks = adaptive_blocks(network)
    notes = {name: Notes() for name in blocks}
    with contextlib.ExitStack() as hooks:
        for name, block in blocks.items():
            for hook in _hooks(block, notes[name]):
                hooks.callback(hook.remove)
        yield notes
    for name, block in blocks.items():
        for parameter, value in block.named_parameters():
            if value.grad is not None:
                notes[name].results[parameter] = value.grad.clone()


def _hooks(block: AdaConvBlock, notes: Notes) -> list[torch.utils.hooks.RemovableHandle]:
    def forward(_: nn.Module, inputs: tuple[Tensor, ...], y: Tensor) -> None:
        if y.requires_grad:
            notes.x, notes.results["y"] = inputs[0].detach().clone(), y.detach().clone()

    def backward(_: nn.Module, gx: tuple[Tensor | None, ...], gy: tuple[Tensor, ...]) -> None:
        notes.cotangent = gy[0].clone()
        if gx[0] is not None:
            notes.results["x"] = gx[0].clone()

    return [block.register_forward_hook(forward), block.register_full_backward_hook(backward)]


def replay(block: AdaConvBlock, notes: Notes) -> dict[str, Tensor]:
    """Compute the block's results from the input and the cotangent that were taken down."""
    x = notes.x.clone().requires_grad_("x" in notes.results)
    y = block(x)
    leaves = {"x": x, **dict(block.named_parameters())}
    wanted = {name: leaves[name] for name in notes.results if name != "y"}
    gradients = torch.autograd.grad(y, list(wanted.values()), notes.cotangent)
    return {"y": y.detach(), **dict(zip(wanted, gradients, strict=True))}


def adaptive_blocks(network: nn.Module) -> dict[str, AdaConvBlock]:
    """Return the adaptive blocks of a network by their names."""
    return {name: m for name, m in network.named_modules() if isinstance(m, AdaConvBlock)}
