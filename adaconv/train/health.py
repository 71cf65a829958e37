"""Where a number that is not finite came from."""

import functools
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn


def first_not_finite(model: nn.Module, compute: Callable[[], object]) -> str:
    """Compute once more, looking at every module, and name the first whose result is not finite.

    Modules that were compiled run as they are written.

    Args:
        model: the modules that are looked at.
        compute: what led to a value that is not finite.
    """
    found: list[str] = []

    def look(name: str, module: nn.Module, inputs: object, result: object) -> None:
        if found or _finite(result):
            return
        for what, value in (
            ("weights are", [*module.parameters(), *module.buffers()]),
            ("input is", inputs),
            ("result is", result),
        ):
            if not _finite(value):
                found.append(f"the first module is {name}, whose {what} not finite")
                return

    hooks = [
        module.register_forward_hook(functools.partial(look, name))
        for name, module in model.named_modules()
        if name
    ]
    try:
        with torch.compiler.set_stance("force_eager"):
            compute()
    finally:
        for hook in hooks:
            hook.remove()
    return found[0] if found else "the results of all modules are finite"


def last_gradient(model: nn.Module, parameters: Iterable[nn.Parameter]) -> str:
    """Name the parameter that backpropagation reached first of those with a spoilt gradient."""
    names = {parameter: name for name, parameter in model.named_parameters()}
    spoilt = [names[p] for p in parameters if p.grad is not None and not _finite(p.grad)]
    return f"the first is that of {spoilt[-1]}" if spoilt else "its values are finite"


def _finite(tree: object) -> bool:
    """Whether all floating-point numbers in tensors, lists and tuples of them, are finite."""
    if isinstance(tree, Tensor):
        return not tree.is_floating_point() or bool(tree.isfinite().all())
    return all(map(_finite, tree)) if isinstance(tree, list | tuple) else True
