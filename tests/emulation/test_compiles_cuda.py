"""nvcc compiles every source of csrc/cuda without a warning, and no kernel spills."""

import re
import shutil
import subprocess

import pytest
from emulator import ROOT

NVCC = shutil.which("nvcc")
SOURCES = sorted((ROOT / "csrc/cuda").glob("*.cu"))


@pytest.mark.skipif(NVCC is None, reason="no nvcc on PATH")
@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_compiles_without_spills(source, tmp_path):
    """The oldest GPU and one with all instructions: `make cuda-check` takes them all."""
    command = [
        NVCC, "-std=c++17", "-O3", "-Werror", "all-warnings", "-Xptxas", "-v,-warn-spills",
        "-gencode", "arch=compute_75,code=sm_75", "-gencode", "arch=compute_90,code=sm_90",
        "--threads", "2", "-c", str(source), "-o", str(tmp_path / "kernels.o"),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    spills = [int(n) for n in re.findall(r"(\d+) bytes spill (?:stores|loads)", done.stderr)]
    assert spills
    assert not any(spills)
