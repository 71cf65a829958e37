"""What the compiled kernels must be: without spills, within the GPU, on its tensor cores."""

import re
from collections.abc import Mapping, Sequence

import torch
from adaconv_kernels._promises import Promise

from adaconv_bench.registry import operator
from adaconv_bench.static.code import Code, read
from adaconv_bench.static.compile import Launch, compiled
from adaconv_bench.static.targets import TARGETS

#: A line for each kernel, as it is compiled for a case, a dtype and a GPU.
Row = Mapping[str, object]


def rows_of(
    stem: str, name: str, dtype: str, targets: Sequence[str]
) -> list[tuple[str, Row, list[str]]]:
    """Return a line for each kernel of one of an operator's cases, with its hash and faults."""
    torch.set_num_threads(1)
    case = next(case for case in operator(stem).static if case.name == name)
    return [
        (
            launch.compiled.hash,
            *row_of(launch, {"operator": stem, "case": case.title, "dtype": dtype}, target),
        )
        for target, launches in compiled(case, getattr(torch, dtype), targets).items()
        for launch in launches
    ]


def row_of(launch: Launch, head: Mapping[str, object], name: str) -> tuple[Row, list[str]]:
    """Return the line of one kernel, and what is wrong with it."""
    target, metadata = TARGETS[name], launch.compiled.metadata
    code = read(target.backend, launch.compiled.asm)
    kernel = {"target": name, "kernel": launch.name, "tile": launch.tile}
    cut = {"warps": metadata.num_warps, "stages": metadata.num_stages}
    row = line_of({"backend": "triton", **head, **kernel, **cut}, code, metadata.shared)
    products = len(re.findall(r"\btt\.dot\b", launch.compiled.asm["ttir"]))
    ways = launch.compiled.asm["ttgir"]
    scalar = len(re.findall(r"\btt\.dot\b.*-> tensor<[^>]*#blocked\d*>", ways))
    return row, [
        *faults(row, launch.promise, products),
        *complaints(
            row, {f"computes {scalar} of {products} products without tensor cores": scalar > 0}
        ),
    ]


def line_of(head: Mapping[str, object], code: Code, shared: int) -> Row:
    """Return the line of a kernel; ``head`` has the columns up to the launch's warps and stages."""
    occupancy = TARGETS[str(head["target"])].occupancy(
        int(str(head["warps"])), code.registers, shared
    )
    return {
        **head,
        "registers": code.registers,
        "spilled": code.spilled,
        "stack": code.stack,
        "shared": shared,
        "occupancy": f"{occupancy:.4g}",
        **code.counts,
        "loop": code.loop,
        **{f"loop_{kind}": number for kind, number in code.loop_counts.items()},
    }


def faults(row: Row, promise: Promise, products: int) -> list[str]:
    """Return what is not as it must be, or not as is promised of a kernel of so many products."""
    shared, most = int(str(row["shared"])), TARGETS[str(row["target"])].block_shared
    spilled, occupancy = int(str(row["spilled"])), float(str(row["occupancy"]))
    return complaints(row, {
        f"spills {spilled} bytes": spilled > 0,
        f"asks for {shared} bytes of shared memory, there are {most}": shared > most,
        f"has {products} products, promised {promise.products}": products < promise.products,
        f"has {products} products and no instruction of tensor cores": (
            products > 0 and row["tensor"] == 0
        ),
        f"fills {occupancy:.3g} of the GPU's warps, promised {promise.occupancy:.3g}": (
            occupancy < promise.occupancy
        ),
    })  # fmt: skip


def complaints(row: Row, checks: Mapping[str, bool]) -> list[str]:
    """Return the faults that were found, with the kernel that has them."""
    kernel = " ".join(map(str, list(row.values())[1:7]))
    return [f"{kernel}: {fault}" for fault, found in checks.items() if found]
