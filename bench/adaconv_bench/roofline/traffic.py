"""Counting what a call computes and moves, without computing it."""

import contextlib
import importlib
import importlib.util
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from unittest import mock

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from adaconv_bench import operators
from adaconv_bench.registry import Case, Problem, Provider, draw
from adaconv_bench.results import WORK
from adaconv_bench.roofline.devices import SPLIT, Device
from adaconv_bench.static.compile import Launch, recording

#: Operations beside views that move nothing.
FREE = re.compile(r"empty|_unsafe_view")


@dataclass(frozen=True)
class Work:
    """What a call does.

    Attributes:
        operations: floating-point operations of its products, as the tensor cores make them.
        memory: bytes through the memory: of each operation or kernel its arguments and results,
            each once.
        requested: bytes that its kernels ask for, what the second cache gives again included.
    """

    operations: float
    memory: float
    requested: float | None = None


class Traffic(TorchDispatchMode):
    """Adds up what PyTorch's operations do.

    Attributes:
        operations: floating-point operations of products and convolutions.
        bytes: those of arguments and results, each once; views are free.
    """

    def __init__(self) -> None:
        super().__init__()
        self.operations, self.bytes = 0.0, 0.0

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        """Compute, and count."""
        options = options or {}
        result = function(*arguments, **options)
        if function.overloadpacket in flop_registry:
            counted = flop_registry[function.overloadpacket]
            self.operations += counted(*arguments, **options, out_val=result)
        if function.namespace == "aten" and not (function.is_view or FREE.search(str(function))):
            tensors = tree_leaves((arguments, options, result))
            moved = {id(t): size(t) for t in tensors if isinstance(t, Tensor)}
            self.bytes += sum(moved.values())
        return result


def size(tensor: Tensor) -> int:
    """Return the bytes of a tensor in memory, where what is expanded stands once."""
    extents = zip(tensor.shape, tensor.stride(), strict=True)
    number = 1
    for extent, stride in extents:
        number *= extent if stride or not extent else 1
    return number * tensor.element_size()


def run(problem: Problem, direction: str) -> None:
    """Call forward, or forward and backward."""
    if WORK[direction] == 1:
        with torch.no_grad():
            problem.forward()
    else:
        problem.results()


def least(case: Case, batch: int, dtype: torch.dtype, direction: str) -> Work:
    """Return what no implementation goes below.

    The forward pass reads the arguments and writes y; a step reads them and the gradient of y once
    more, and writes the gradients of the arguments. But a bias of every pixel, b, is read once, and
    its gradient is that of y.
    """
    with FakeTensorMode():
        problem = draw(case, batch, dtype, dtype)
        sizes, y = {name: size(t) for name, t in problem.leaves.items()}, size(problem.cotangent)
    leaves = sum(sizes.values())
    both = WORK[direction] > 1
    products = case.flops(batch) * WORK[direction]
    moved = 3 * leaves + 2 * (y - sizes.get("b", 0)) if both else leaves + y
    return Work(products, moved)


def eager(case: Case, batch: int, dtype: torch.dtype, direction: str, provider: Provider) -> Work:
    """Return what PyTorch's operations do, each for itself."""
    with FakeTensorMode(), provider.active():
        problem = draw(case, batch, dtype, dtype)
        with Traffic() as traffic:
            run(problem, direction)
    return Work(traffic.operations, traffic.bytes)


def ours(
    stem: str, case: Case, batch: int, dtype: torch.dtype, direction: str, device: Device
) -> Work:
    """Return what the Triton kernels do and what stands around them, from their launches.

    How a kernel is cut, ``TILINGS`` of the module ``tiling`` of an operator's folder knows; where
    there is none, operations are those of the definition.
    """
    problem, traffic = draw(case, batch, dtype, dtype), Traffic()
    with (
        recording(device.target, compiles=False, processors=device.processors) as launches,
        _counted(stem, traffic),
    ):
        run(problem, direction)
    memory = traffic.bytes + sum(map(_once, launches))
    tilings = f"{operators.__name__}.{stem}.tiling"
    if importlib.util.find_spec(tilings) is None:
        return Work(case.flops(batch) * WORK[direction], memory)
    tiled = [importlib.import_module(tilings).TILINGS[one.name](one) for one in launches]
    return Work(
        sum(operations for operations, _ in tiled),
        memory,
        traffic.bytes + sum(moved for _, moved in tiled),
    )


def _once(launch: Launch) -> int:
    arguments = tree_leaves(list(launch.arguments.values()))
    return sum({id(t): size(t) for t in arguments if isinstance(t, Tensor)}.values())


@contextlib.contextmanager
def _counted(stem: str, traffic: Traffic) -> Iterator[None]:
    """Count the operations inside the functions of a kernels' module, which modes do not enter."""
    module = importlib.import_module(f"adaconv_kernels.{stem}")
    running = False

    def counted(function):
        def call(*arguments, **options):
            nonlocal running
            if running:
                return function(*arguments, **options)
            running = True
            try:
                with traffic:
                    return function(*arguments, **options)
            finally:
                running = False

        return call

    names = [
        name
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__ and not name.startswith("_")
    ]
    with contextlib.ExitStack() as stack:
        for name in names:
            stack.enter_context(mock.patch.object(module, name, counted(getattr(module, name))))
        yield


def products(size: float, terms: int) -> float:
    """Return the operations of products whose factors are so many numbers each."""
    return size * (SPLIT if terms == 2 else 1)
