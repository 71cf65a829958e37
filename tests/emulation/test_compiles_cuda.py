"""nvcc compiles every source of csrc/cuda without a warning, and no kernel spills."""

import os
import re
import shutil
import subprocess

import pytest
from emulator import ROOT

NVCC = shutil.which("nvcc")
SOURCES = sorted((ROOT / "csrc/cuda").glob("*.cu"))

#: GPUs for which code is made; `make cuda-check` names them all. What the oldest one does without
#: is seen in intermediate code.
TARGETS = os.environ.get("ADACONV_CUDA_ARCHITECTURES", "90").split()
CODE = [
    *(f"-gencode=arch=compute_{target},code=sm_{target}" for target in TARGETS),
    "-gencode=arch=compute_75,code=compute_75",
]


@pytest.mark.skipif(NVCC is None, reason="no nvcc on PATH")
@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_compiles_without_spills(source, tmp_path):
    command = [
        NVCC, "-std=c++17", "-O3", "-Werror", "all-warnings", "-Xcompiler", "-Wall,-Wextra",
        "-Xptxas", "-v", "--threads", "0", *CODE, "-c", str(source), "-o", str(tmp_path / "o"),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    spills = [int(n) for n in re.findall(r"(\d+) bytes spill (?:stores|loads)", done.stderr)]
    assert spills
    assert not any(spills)
