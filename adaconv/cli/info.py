"""``adaconv info``."""

from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table

import adaconv
from adaconv import cpu, cuda
from adaconv.train.machine import machine


def info(*, native: bool = False) -> None:
    """Show the versions, the processor, and which backends can run here and why others cannot.

    Args:
        native: Show instead what the native modules are compiled for.
    """
    console = Console(soft_wrap=True)
    for table in [_cpu_module(), _cuda_library()] if native else [_grid(machine()), _backends()]:
        console.print(table)


def _cpu_module() -> Table:
    if cpu.unavailable is not None:
        return _grid({"adaconv._C": cpu.unavailable})
    return _grid(
        {
            "adaconv._C": cpu._C.__file__,
            "size": _size(Path(cpu._C.__file__)),
            "instruction sets": ", ".join(cpu.built_variants()),
            "of this processor": ", ".join(cpu.variants()),
        }
    )


def _cuda_library() -> Table:
    library = cuda.library
    if library.missing is not None:
        return _grid({library.path.name: library.missing})
    codes: dict[str, list[str]] = {"SASS": [], "PTX": []}
    for code in library.codes():
        codes[code.kind].append(str(code))
    return _grid(
        {
            library.path.name: str(library.path),
            "size": _size(library.path),
            **{kind: ", ".join(names) or "none" for kind, names in codes.items()},
        }
    )


def _size(file: Path) -> str:
    return f"{file.stat().st_size / 2**20:.1f} MiB"


def _grid(rows: Mapping[str, str]) -> Table:
    table = Table.grid(padding=(0, 2))
    for name, value in rows.items():
        table.add_row(name, value)
    return table


def _backends() -> Table:
    table = Table(
        "backend", "can run", "why not", title="adaptive convolution", title_justify="left"
    )
    for name, reason in adaconv.backends().items():
        table.add_row(name, "yes" if reason is None else "no", reason or "")
    return table
