"""What an installed package promises: a light import, one thread pool, readable reasons."""

import subprocess
import sys
from importlib import metadata, resources
from pathlib import Path

import pytest

import adaconv
import adaconv.cpu as cpu


def run(code: str) -> str:
    """Run Python where no source tree hides the installed package."""
    here = Path(__file__).parent
    done = subprocess.run([sys.executable, "-c", code], cwd=here, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_version():
    try:
        assert metadata.version("adaconv") == adaconv.__version__
    except metadata.PackageNotFoundError:
        pytest.skip("runs from the source tree")


def test_claims_no_common_name():
    """``kernels`` is the name of another library; ours is ``adaconv_kernels``."""
    try:
        files = metadata.files("adaconv")
    except metadata.PackageNotFoundError:
        pytest.skip("runs from the source tree")
    ours = {"adaconv", "adaconv_bench", "adaconv_kernels"}
    roots = {file.parts[0] for file in files if not file.parts[0].startswith("..")}
    assert {root for root in roots if not root.endswith(".dist-info")} == ours


def test_is_typed():
    assert resources.files("adaconv").joinpath("py.typed").is_file()


def test_import_is_light():
    heavy = [
        "lightning_fabric",
        "triton",
        "PIL",
        "matplotlib",
        "tyro",
        "rich",
        "adaconv.train",
        "adaconv.data",
    ]
    loaded = run(f"import sys, adaconv; print([m for m in {heavy} if m in sys.modules])")
    assert loaded.strip() == "[]"


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs Linux's /proc")
def test_one_openmp_pool(cpu_backend):
    code = """
import torch, adaconv
x = torch.randn(8, 16, 16, 16)
adaconv.adaptive_conv2d(x, x, torch.randn(16, 16, 3, 3, 16), padding=1, backend="cpu")
maps = open("/proc/self/maps").read().split()
print({m for m in maps if "gomp" in m or "iomp" in m or "libomp" in m})
"""
    assert len(eval(run(code))) == 1


def test_native_module_has_no_torch(cpu_backend):
    """The one binary serves every torch: it links none of its libraries."""
    if sys.platform != "linux":
        pytest.skip("reads ELF")
    content = Path(cpu._C.__file__).read_bytes()
    assert b"libgomp.so.1" in content
    assert not any(name in content for name in (b"libtorch", b"libc10"))


def test_missing_native_module_is_explained_and_replaced():
    code = """
import sys
sys.modules["adaconv._C"] = None
import torch, adaconv
x, d, P = torch.ones(1, 1, 3, 3), torch.ones(1, 1, 1, 1), torch.ones(1, 1, 3, 3, 1)
y = adaconv.adaptive_conv2d(x, d, P)
print(y.item(), "|", adaconv.backends()["cpu"])
try:
    adaconv.adaptive_conv2d(x, d, P, backend="cpu")
except adaconv.BackendError as error:
    print(error)
"""
    value, reason = run(code).split("|")
    assert float(value) == 9.0
    assert reason.count("adaconv._C cannot be imported") == 2
