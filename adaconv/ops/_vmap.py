"""The rule of :func:`torch.vmap` for the operators that run on kernels."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


def register(*operators: Any) -> None:
    """Let the operators compute the samples of a batch one by one: each call is parallel itself."""
    for operator in operators:
        operator.register_vmap(_one_by_one(operator))


def _one_by_one(operator: Callable[..., Any]) -> Callable[..., tuple[Any, int]]:
    def rule(info: Any, in_dims: Sequence[Any], *arguments: Any) -> tuple[Any, int]:
        results = [
            operator(*(_sample(*pair, i) for pair in zip(arguments, in_dims, strict=True)))
            for i in range(info.batch_size)
        ]
        return _stack(results), 0

    return rule


def _sample(argument: Any, dim: Any, i: int) -> Any:
    """Return the i-th sample of an argument: a tensor that is batched, or a list with some."""
    if isinstance(argument, Tensor):
        return argument if dim is None else argument.select(dim, i)
    if isinstance(dim, (list, tuple)):
        return [_sample(*pair, i) for pair in zip(argument, dim, strict=True)]
    return argument


def _stack(results: Sequence[Any]) -> Any:
    if isinstance(results[0], Tensor):
        return torch.stack(list(results))
    return type(results[0])(map(_stack, zip(*results, strict=True)))
