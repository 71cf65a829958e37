"""What the compiled kernels must be: without spills, within the GPU, on its tensor cores."""

import re
from collections.abc import Mapping, Sequence

import torch

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
    occupancy = target.occupancy(metadata.num_warps, code.registers, metadata.shared)
    row = {
        **head,
        "target": name,
        "kernel": launch.name,
        "tile": launch.tile,
        "warps": metadata.num_warps,
        "stages": metadata.num_stages,
        "registers": code.registers,
        "spilled": code.spilled,
        "stack": code.stack,
        "shared": metadata.shared,
        "occupancy": f"{occupancy:.4g}",
        **code.counts,
        "loop": code.loop,
        **{f"loop_{kind}": number for kind, number in code.loop_counts.items()},
    }
    return row, [
        f"{' '.join(map(str, list(row.values())[:6]))}: {fault}"
        for fault in faults(launch, name, code, occupancy)
    ]


def faults(launch: Launch, name: str, code: Code, occupancy: float) -> list[str]:
    """Return what is not as it must be, or not as the kernel's module promises."""
    promise, target, asm = launch.promise, TARGETS[name], launch.compiled.asm
    shared, ways = launch.compiled.metadata.shared, asm["ttgir"]
    products = len(re.findall(r"\btt\.dot\b", asm["ttir"]))
    scalar = len(re.findall(r"\btt\.dot\b.*-> tensor<[^>]*#blocked\d*>", ways))
    checks = {
        f"spills {code.spilled} bytes": code.spilled > 0,
        f"asks for {shared} bytes of shared memory, there are {target.block_shared}": (
            shared > target.block_shared
        ),
        f"has {products} products, promised {promise.products}": products < promise.products,
        f"computes {scalar} of {products} products without tensor cores": scalar > 0,
        f"has {products} products and no instruction of tensor cores": (
            products > 0 and code.counts["tensor"] == 0
        ),
        f"fills {occupancy:.3g} of the GPU's warps, promised {promise.occupancy:.3g}": (
            occupancy < promise.occupancy
        ),
    }
    return [fault for fault, found in checks.items() if found]
