"""What stands in the machine code of a compiled kernel."""

import re
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

#: Loops of fewer instructions than this wait for something.
WAITING = 16


@dataclass(frozen=True)
class Language:
    """How a disassembly is read.

    Attributes:
        label: a line that names a place.
        instruction: a line with an instruction.
        branch: an instruction that goes to a place.
        kinds: the kinds of instructions that are counted.
    """

    label: str
    instruction: str
    branch: str
    kinds: Mapping[str, str]


#: SASS and AMDGCN. A load that goes to shared memory directly is one of global memory.
LANGUAGES = {
    "cuda": Language(
        label=r"(\.L_\w+):",
        instruction=r"\s+/\*[0-9a-f]{4,}\*/\s+(?:@!?\w+\s+)?([A-Z].*?);",
        branch=r"BRA\b.*`\((\.L_\w+)\)",
        kinds={
            "tensor": r"([DHIQ]|[HIQ]G|UTC[A-Z])MMA\b",
            "float": r"[FD](FMA|MUL|ADD|MNMX|SETP?)|HFMA2|MUFU|FSEL",
            "loads": r"LDG",
            "loads16": r"LDG\S*\.128",
            "stores": r"STG",
            "stores16": r"STG\S*\.128",
            "exchange": r"LDS\b|LDSM|STS\b|STSM|LDTM|STTM",
        },
    ),
    "hip": Language(
        label=r"(\.LBB\w+):",
        instruction=r"\s+([a-z]+_\w+.*)",
        branch=r"s_c?branch\w*\s+(\.LBB\w+)",
        kinds={
            "tensor": r"v_mfma_",
            "float": r"v_(pk_)?(fma|mul|add|sub|max|mac)\w*_f\d\d|v_cmp\w*_f\d\d",
            "loads": r"(global|buffer|flat)_load_",
            "loads16": r"(global|buffer|flat)_load_(lds_)?dwordx4",
            "stores": r"(global|buffer|flat)_store_",
            "stores16": r"(global|buffer|flat)_store_dwordx4",
            "exchange": r"ds_",
        },
    ),
}


@dataclass(frozen=True)
class Code:
    """A kernel's machine code.

    Attributes:
        registers: registers of a thread.
        stack: bytes of a thread's stack.
        spilled: bytes of registers that a thread stores there.
        counts: instructions of each kind.
        loop: instructions of the inner loop; 0 where there is none.
        loop_counts: those of each kind.
    """

    registers: int
    stack: int
    spilled: int
    counts: Mapping[str, int]
    loop: int
    loop_counts: Mapping[str, int]


def read(backend: str, asm: Mapping[str, str | bytes]) -> Code:
    """Read what Triton compiled."""
    return code_of(backend, *(_nvidia(asm["cubin"]) if backend == "cuda" else _amd(asm["amdgcn"])))


def code_of(backend: str, resources: tuple[int, int, int], listing: str) -> Code:
    """Return what stands in a kernel's listing, and its registers, stack and spilled bytes."""
    language = LANGUAGES[backend]
    instructions, loops = parse(language, listing)
    loop = inner_loop(language, instructions, loops)
    return Code(
        *resources,
        counts=count(language, instructions),
        loop=len(loop),
        loop_counts=count(language, loop),
    )


def _nvidia(cubin: bytes) -> tuple[tuple[int, int, int], str]:
    """Return registers, stack and spilled bytes, and the disassembly, of a file of one kernel."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        usage, listing = disassembled(Path(file.name))
    registers, stack = (int(_found(rf"{name}:(\d+)", usage)) for name in ("REG", "STACK"))
    return (registers, stack, spilled(listing)), listing


def disassembled(cubin: Path) -> tuple[str, str]:
    """Return what each kernel of a file takes, and its disassembly."""
    import triton.backends.nvidia as nvidia

    tools = Path(nvidia.__file__).parent / "bin"
    usage, listing = (
        subprocess.run([*tool, cubin], capture_output=True, text=True, check=True).stdout
        for tool in ([tools / "cuobjdump", "--dump-resource-usage"], [tools / "nvdisasm"])
    )
    return usage, listing


def spilled(listing: str) -> int:
    """Return the bytes of registers that a thread stores in its stack."""
    stores = re.findall(r"\bSTL(?:\.(64|128))?", listing)
    return sum(int(bits or 32) // 8 for bits in stores)


def _amd(listing: str) -> tuple[tuple[int, int, int], str]:
    registers, spills, stack = (
        int(_found(rf"\.{name}:\s+(\d+)", listing))
        for name in ("vgpr_count", "vgpr_spill_count", "private_segment_fixed_size")
    )
    return (registers, stack, 4 * spills), listing


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    if match is None:
        raise ValueError(f"a compiled kernel must tell {pattern}, got {text[:200]!r}")
    return match[1]


def parse(language: Language, listing: str) -> tuple[list[str], list[range]]:
    """Return the instructions, and the loops: ranges of them that end with a branch back."""
    places: dict[str, int] = {}
    instructions: list[str] = []
    loops = []
    for line in listing.splitlines():
        if label := re.match(language.label, line):
            places[label[1]] = len(instructions)
        elif instruction := re.match(language.instruction, line):
            instructions.append(instruction[1])
            branch = re.match(language.branch, instruction[1])
            if branch and branch[1] in places:
                loops.append(range(places[branch[1]], len(instructions)))
    return instructions, [loop for loop in loops if len(loop) >= WAITING]


def inner_loop(
    language: Language, instructions: Sequence[str], loops: Sequence[range]
) -> Sequence[str]:
    """Return the shortest loop with the most products; where none has any, the longest innermost.

    Blocks that stand behind their loop, and branch back into it, count as loops of few products.
    """

    def within(loop: range) -> bool:
        return any(o != loop and o.start >= loop.start and o.stop <= loop.stop for o in loops)

    def merit(loop: range) -> tuple[int, int, int]:
        products = count(language, instructions[loop.start : loop.stop])["tensor"]
        return products, not within(loop), -len(loop) if products else len(loop)

    best = max(loops, key=merit, default=range(0))
    return instructions[best.start : best.stop]


def count(language: Language, instructions: Sequence[str]) -> dict[str, int]:
    """Count the instructions of each kind."""
    return {
        kind: sum(re.match(pattern, one) is not None for one in instructions)
        for kind, pattern in language.kinds.items()
    }
