"""Swap the convolutions of a model."""

from collections.abc import Callable
from typing import Any

from torch import nn
from torch.nn.utils import parametrize

from adaconv.nn._adaptive_block import AdaptiveBlock
from adaconv.nn.adaptive_conv import AdaConvBlock


def convert(
    model: nn.Module,
    predicate: Callable[[str, nn.Conv2d], bool] | None = None,
    block: type[AdaptiveBlock] = AdaConvBlock,
    **block_options: Any,
) -> list[str]:
    """Swap the convolutions of ``model`` for adaptive ones, in place, and say which.

    Every :class:`torch.nn.Conv2d` (subclasses are left alone, and so is what an adaptive block
    contains) gives way to a ``block`` with its arguments, device, dtype, mode (training or
    evaluation) and ``requires_grad``. A convolution that the model uses in several places is
    swapped for one block, used in all of them. The weights start anew: those of an ordinary
    convolution mean nothing to an adaptive one. Make the optimizer after the swap.

    Args:
        model: the module to change; not itself a convolution.
        predicate: says, of a convolution's name and the convolution, whether to swap it; ``None``
            swaps all. It is asked once about each.
        block: :class:`AdaConvBlock`, :class:`AdaSeparableConvBlock` or :class:`LocalAdaConvBlock`.
        **block_options: further arguments of ``block``, such as ``adaptive_kernel_size``.

    Returns:
        The names of the convolutions that were swapped, in the order of ``model.named_modules()``.

    Raises:
        ValueError: the model is itself a convolution, or one that is to be swapped has a weight
            that is computed (spectral_norm, weight_norm, pruning), which a swap would lose. Nothing
            is swapped then.
        TypeError: ``model`` is not a module, or there is no such block option.

    Example:
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 3, 1))
        >>> convert(model, lambda name, conv: conv.kernel_size != (1, 1), adaptive_kernel_size=5)
        ['0']
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    if _is_convolution(model):
        raise ValueError(
            "the model is itself a convolution and cannot be swapped in place; "
            "construct an AdaConvBlock with its arguments instead"
        )
    chosen = {
        name: conv
        for name, conv in _convolutions(model).items()
        if predicate is None or predicate(name, conv)
    }
    blocks: dict[nn.Module, AdaptiveBlock] = {
        conv: _block(block, name, conv, block_options) for name, conv in chosen.items()
    }
    for name, module in list(model.named_modules(remove_duplicate=False)):
        if module in blocks:
            model.set_submodule(name, blocks[module])
    return list(chosen)


def _is_convolution(module: nn.Module) -> bool:
    """Whether the module is a Conv2d and no subclass but one that a parametrization made."""
    return parametrize.type_before_parametrizations(module) is nn.Conv2d


def _convolutions(model: nn.Module) -> dict[str, nn.Conv2d]:
    inside = {m for b in model.modules() if isinstance(b, AdaptiveBlock) for m in b.modules()}
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d) and _is_convolution(module) and module not in inside
    }


def _block(
    kind: type[AdaptiveBlock], name: str, conv: nn.Conv2d, block_options: dict[str, Any]
) -> AdaptiveBlock:
    """Return a new block in the image of ``conv``."""
    expected = {"weight"} if conv.bias is None else {"weight", "bias"}
    if {own for own, _ in conv.named_parameters(recurse=False)} != expected:
        raise ValueError(
            f"the weight or bias of {name!r} is computed from other parameters (by spectral_norm, "
            "weight_norm, pruning or another parametrization), which the swap would lose; "
            "remove that first, or let the predicate pass over this convolution"
        )
    block = kind(
        conv.in_channels,
        conv.out_channels,
        conv.kernel_size,
        conv.stride,
        conv.padding,
        conv.dilation,
        conv.groups,
        conv.bias is not None,
        conv.padding_mode,
        conv.weight.device,
        conv.weight.dtype,
        **block_options,
    )
    block.train(conv.training).requires_grad_(conv.weight.requires_grad)
    if conv.bias is not None and block.bias is not None:
        block.bias.requires_grad_(conv.bias.requires_grad)
    return block
