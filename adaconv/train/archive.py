"""Trees of tensors and plain values, taken apart for files that hold tensors and text alone."""

import zlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


def split(tree: Any, name: str = "", /) -> tuple[Any, dict[str, Tensor]]:
    """Take the tensors out of a tree.

    Args:
        tree: a tensor, a plain value, or a dictionary or list of trees; a tuple becomes a list.
        name: where it stands in a larger tree.

    Returns:
        The rest as what JSON has, and the tensors by their places, copied to the CPU.

    Raises:
        TypeError: there is something else in the tree.

    Example:
        >>> rest, tensors = split({"step": 3, "weights": {0: torch.zeros(2)}})
        >>> rest
        {'entries': [['step', 3], ['weights', {'entries': [[0, {'tensor': 'weights/0'}]]}]]}
        >>> join(rest, tensors)
        {'step': 3, 'weights': {0: tensor([0., 0.])}}
    """
    if isinstance(tree, Tensor):
        # a copy: tensors that share memory, or that skip some of it, cannot be written as they are
        own = tree.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        return {"tensor": name}, {name: own}
    tensors: dict[str, Tensor] = {}

    def part(key: Any, value: Any) -> Any:
        rest, found = split(value, f"{name}/{key}" if name else str(key))
        tensors.update(found)
        return rest

    if isinstance(tree, Mapping):
        return {"entries": [[key, part(key, value)] for key, value in tree.items()]}, tensors
    if isinstance(tree, list | tuple):
        return [part(index, value) for index, value in enumerate(tree)], tensors
    if tree is None or isinstance(tree, bool | int | float | str):
        return tree, tensors
    raise TypeError(f"{name} must be a tensor or a plain value, got {tree!r}")


def join(rest: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Put together again what :func:`split` took apart."""
    if isinstance(rest, list):
        return [join(item, tensors) for item in rest]
    if not isinstance(rest, dict):
        return rest
    if "tensor" in rest:
        return tensors[rest["tensor"]]
    return {key: join(value, tensors) for key, value in rest["entries"]}


def checksum(text: str, tensors: Mapping[str, Tensor]) -> str:
    """Return a CRC-32 of a text and of all bytes of contiguous tensors."""
    found = zlib.crc32(text.encode())
    for name in sorted(tensors):
        found = zlib.crc32(tensors[name].reshape(-1).view(torch.uint8).numpy().data, found)
    return f"{found:08x}"
