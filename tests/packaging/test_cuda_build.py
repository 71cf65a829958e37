"""How the CUDA library is built, and what is read in one."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from adaconv.cuda._fatbin import codes

ROOT = Path(__file__).parents[2]


def configure(folder: Path, cuda: str, compiler: str) -> subprocess.CompletedProcess:
    """Configure the CUDA library alone."""
    if shutil.which("cmake") is None:
        pytest.skip("no cmake on PATH")
    (folder / "CMakeLists.txt").write_text(
        f"cmake_minimum_required(VERSION 3.20)\nproject(adaconv LANGUAGES CXX)\n"
        f"set(ADACONV_CUDA {cuda})\nadd_subdirectory({ROOT}/csrc/cuda cuda)\n"
    )
    command = [
        "cmake",
        "-E",
        "env",
        f"CUDACXX={compiler}",
        "cmake",
        "-S",
        folder,
        "-B",
        folder / "b",
    ]
    return subprocess.run(command, capture_output=True, text=True)


def test_fails_loudly_without_nvcc(tmp_path):
    done = configure(tmp_path, "on", "/nowhere/nvcc")
    assert done.returncode != 0
    message = " ".join(done.stderr.split())
    assert "asked for (ADACONV_BUILD=cuda) and cannot be built: no nvcc that works" in message


def test_is_left_out_without_nvcc_where_nobody_asked(tmp_path):
    assert configure(tmp_path, "auto", "/nowhere/nvcc").returncode == 0


def cuobjdump() -> str | None:
    """Return the tool, of CUDA or of Triton."""
    try:
        import triton.backends.nvidia as nvidia
    except ImportError:
        return shutil.which("cuobjdump")
    return shutil.which("cuobjdump") or str(Path(nvidia.__file__).parent / "bin/cuobjdump")


def test_lists_what_cuobjdump_lists(tmp_path):
    nvcc, tool = shutil.which("nvcc"), cuobjdump()
    if nvcc is None or tool is None:
        pytest.skip("no nvcc, or no cuobjdump")
    for name in ("a", "b"):  # each has a container of its own
        (tmp_path / f"{name}.cu").write_text(f"__global__ void {name}(int* p) {{ *p = 1; }}\n")
    library = tmp_path / "library.so"
    targets = ("75", "90", "120")
    options = [f"-gencode=arch=compute_{one},code=sm_{one}" for one in targets]
    command = [nvcc, *options, "-gencode=arch=compute_120,code=compute_120", "-shared"]
    command += ["-Xcompiler", "-fPIC", "a.cu", "b.cu", "-o", library]
    subprocess.run(command, cwd=tmp_path, check=True)
    listed = subprocess.run(
        [tool, "--list-elf", "--list-ptx", library], capture_output=True, text=True, check=True
    ).stdout
    expected = set(re.findall(r"\.(sm_\d+)\.cubin", listed))
    expected |= {f"compute_{number}" for number in re.findall(r"\.sm_(\d+)\.ptx", listed)}
    assert [str(code) for code in codes(library)] == ["sm_75", "sm_90", "sm_120", "compute_120"]
    assert {str(code) for code in codes(library)} == expected
