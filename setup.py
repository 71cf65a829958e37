"""Builds the native modules with CMake and ninja; the rest is in pyproject.toml.

``ADACONV_BUILD`` chooses what is built: ``cuda``, kernels for the CPU and for CUDA; ``cpu``, those
for the CPU alone; ``auto`` (the default), for CUDA as well where nvcc is found; or ``none`` for a
pure-Python wheel, which has the reference and Triton. ``ADACONV_SANITIZE`` names the sanitizers to
build with, which ``make sanitize`` sets.
"""

import os
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).parent.resolve()

#: ADACONV_BUILD → what CMake is told of the CUDA kernels, None where nothing is compiled.
BUILDS = {"auto": "auto", "cuda": "on", "cpu": "off", "none": None}


class CMakeBuild(build_ext):
    """Runs CMake where setuptools would have run the compiler."""

    def build_extension(self, ext: Extension) -> None:
        """Configure and build; the module lands where setuptools looks for it."""
        import pybind11

        target = Path(self.get_ext_fullpath(ext.name)).resolve().parent
        folder = Path(self.build_temp).resolve()
        configure = [
            "cmake", "-G", "Ninja", "-S", str(ROOT), "-B", str(folder),
            "-DCMAKE_BUILD_TYPE=Release",
            "-DPYBIND11_FINDPYTHON=ON",
            f"-Dpybind11_DIR={pybind11.get_cmake_dir()}",
            f"-DPython_EXECUTABLE={sys.executable}",
            f"-DCMAKE_LIBRARY_OUTPUT_DIRECTORY={target}",
            f"-DADACONV_CUDA={BUILDS[build]}",
            f"-DADACONV_SANITIZE={sanitizers}",
        ]  # fmt: skip
        subprocess.run(configure, check=True)
        subprocess.run(["cmake", "--build", str(folder)], check=True)


build = os.environ.get("ADACONV_BUILD", "auto")
if build not in BUILDS:
    raise SystemExit(f"ADACONV_BUILD must be one of {', '.join(BUILDS)}, got {build!r}")

sanitizers = os.environ.get("ADACONV_SANITIZE", "")
# Nothing that is compiled with sanitizers may be found by a build without.
apart = {"build": {"build_base": f".sanitize/build/{sanitizers}"}} if sanitizers else {}
native = {
    "ext_modules": [Extension("adaconv._C", sources=[])],
    "cmdclass": {"build_ext": CMakeBuild},
}
setup(options=apart, **(native if BUILDS[build] else {}))
