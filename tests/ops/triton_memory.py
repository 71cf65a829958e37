"""Memory that knows its bounds, for kernels in Triton's interpreter, and masks that are removed."""

import ast
import contextlib
import importlib
import linecache
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import adaconv_kernels
import numpy as np
import torch
from torch.utils._pytree import tree_map

#: Bytes between the arguments of a launch; no fault may reach farther.
APART = 1 << 20

PACKAGE = Path(adaconv_kernels.__file__).parent


class BoundsError(AssertionError):
    """A kernel read or wrote outside of its arguments, or wrote a place twice."""


class _Memory:
    """The arguments of the launch that runs, and what it has written."""

    def __init__(self) -> None:
        self.bounds: list[tuple[int, int]] = []
        self.written: list[np.ndarray] = []

    def moved(self, arguments):
        """Return the arguments with each storage copied to a place far from the others."""
        self.bounds, self.written = [], []
        storages = {}

        def move(value):
            if not isinstance(value, torch.Tensor):
                return value
            storage = value.untyped_storage()
            if storage.data_ptr() not in storages:
                room = np.empty(storage.nbytes() + 2 * APART, np.uint8)
                whole = torch.frombuffer(room, dtype=torch.uint8)[APART:-APART]
                whole = torch.frombuffer(whole.numpy(), dtype=torch.uint8) if len(whole) else whole
                storages[storage.data_ptr()] = whole.untyped_storage().copy_(storage)
                self.bounds.append((whole.data_ptr(), whole.data_ptr() + len(whole)))
            place = value.storage_offset(), value.size(), value.stride()
            return value.new_empty(0).set_(storages[storage.data_ptr()], *place)

        return tree_map(move, arguments)

    def check(self, pointers, mask) -> np.ndarray:
        """Return the addresses that are used, all of which lie within one argument."""
        used = pointers.data[mask.data.astype(bool)].astype(np.int64)
        size = pointers.get_element_ty().primitive_bitwidth // 8
        if used.size and not any(
            start <= used.min() and used.max() + size <= stop for start, stop in self.bounds
        ):
            raise BoundsError("outside of the arguments")
        return used

    def finish(self) -> None:
        """Check that every place has been written by one program."""
        places = np.concatenate([*self.written, np.empty(0, np.int64)])
        if len(np.unique(places)) < len(places):
            raise BoundsError("written twice")


@contextlib.contextmanager
def bounded() -> Iterator[None]:
    """Raise where a kernel leaves its arguments, or writes a place twice in one launch."""
    from triton.runtime.interpreter import GridExecutor, interpreter_builder

    memory = _Memory()
    prepare, restore = GridExecutor._init_args_hst, GridExecutor._restore_args_dev
    load, store = interpreter_builder.create_masked_load, interpreter_builder.create_masked_store

    def checked_load(pointers, mask, *rest):
        memory.check(pointers, mask)
        return load(pointers, mask, *rest)

    def checked_store(pointers, value, mask, *rest):
        memory.written.append(memory.check(pointers, mask))
        return store(pointers, value, mask, *rest)

    def finished(executor, *arguments):
        memory.finish()
        restore(executor, *arguments)

    with (
        mock.patch.object(
            GridExecutor, "_init_args_hst", lambda *given: memory.moved(prepare(*given))
        ),
        mock.patch.object(GridExecutor, "_restore_args_dev", finished),
        mock.patch.object(interpreter_builder, "create_masked_load", checked_load),
        mock.patch.object(interpreter_builder, "create_masked_store", checked_store),
    ):
        yield


@dataclass(frozen=True)
class Mutant:
    """A condition of a mask that always holds.

    Attributes:
        file: name of the file of the kernels.
        start: place of the condition in its bytes.
        stop: its end.
        name: where it stands, and what.
    """

    file: str
    start: int
    stop: int
    name: str

    def __str__(self) -> str:
        return self.name

    @contextlib.contextmanager
    def active(self, folder: Path) -> Iterator[None]:
        """Run the kernels so inside the ``with`` block, from a copy in a new folder."""
        copy = folder / PACKAGE.name
        shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
        source = (PACKAGE / self.file).read_bytes()
        condition = b"((" + source[self.start : self.stop] + b") | True)"
        (copy / self.file).write_bytes(source[: self.start] + condition + source[self.stop :])
        others = {name: m for name, m in sys.modules.items() if not name.startswith(PACKAGE.name)}
        with (
            mock.patch.dict(sys.modules, others, clear=True),
            mock.patch.object(sys, "path", [str(folder), *sys.path]),
        ):
            importlib.invalidate_caches()
            linecache.clearcache()
            yield


def mutants(*files: str) -> list[Mutant]:
    """Return one for each condition that masks of the kernels in these files are made of.

    These are the operands of every ``&``, and masks and conditions of ``where`` that are no such
    conjunction.
    """
    return [mutant for file in files for mutant in _mutants(file)]


def _mutants(file: str) -> Iterator[Mutant]:
    source = (PACKAGE / file).read_bytes()
    lines = [0]
    for line in source.splitlines(keepends=True):
        lines.append(lines[-1] + len(line))
    for function in ast.walk(ast.parse(source)):
        if not isinstance(function, ast.FunctionDef) or not function.decorator_list:
            continue
        for node in _conditions(function):
            start = lines[node.lineno - 1] + node.col_offset
            stop = lines[node.end_lineno - 1] + node.end_col_offset
            text = source[start:stop].decode()
            yield Mutant(file, start, stop, f"{function.name}:{node.lineno}: {text}")


def _conditions(function: ast.FunctionDef) -> Iterator[ast.expr]:
    def conjunction(node) -> bool:
        return isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitAnd)

    for node in ast.walk(function):
        if conjunction(node):
            yield from (side for side in (node.left, node.right) if not conjunction(side))
        elif isinstance(node, ast.keyword) and node.arg == "mask" and not conjunction(node.value):
            yield node.value
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "tl.where":
            yield node.args[0]
