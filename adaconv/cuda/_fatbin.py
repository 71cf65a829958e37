"""Which GPUs the code in a library is for, as nvcc embeds it."""

import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class Code(NamedTuple):
    """Code for a GPU: ``"SASS"``, the machine's own, or ``"PTX"``, which a driver translates."""

    kind: str
    architecture: int

    def __str__(self) -> str:
        return f"{'compute' if self.kind == 'PTX' else 'sm'}_{self.architecture}"


#: A container: magic, version, bytes of this header; then the bytes of the entries behind it.
CONTAINER = re.compile(re.escape(struct.pack("<IHH", 0xBA55ED50, 1, 16)) + b"(.{8})", re.DOTALL)

#: The head of an entry: kind, version, bytes of its header and of what follows; 8 bytes that are
#: of no interest here, the format's version in two halves, and the GPU.
ENTRY = struct.Struct("<HHIQ12xI")

KINDS = {1: "PTX", 2: "SASS"}


def codes(library: Path) -> list[Code]:
    """Return what code there is in a library, each once, in order of architecture.

    Example:
        >>> [str(code) for code in codes(Path(__file__))]  # this is no library
        []
    """
    content = library.read_bytes()
    found = {
        code
        for container in CONTAINER.finditer(content)
        for code in _entries(content, container.end(), int.from_bytes(container[1], "little"))
    }
    return sorted(found, key=lambda code: (code.kind == "PTX", code.architecture))


def _entries(content: bytes, start: int, size: int) -> Iterator[Code]:
    at = start
    while at < start + size:
        kind, _, header, body, architecture = ENTRY.unpack_from(content, at)
        if kind in KINDS:
            yield Code(KINDS[kind], architecture)
        at += header + body
