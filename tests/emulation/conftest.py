"""What is compiled once for all tests of the emulation."""

from functools import partial

import emulator
import pytest

from adaconv import cuda


def pytest_terminal_summary(terminalreporter):
    """Tell how memory was used where it was counted; tests in one process know."""
    if not emulator.COUNTED:
        return
    terminalreporter.section("sectors of global memory, passes of shared memory: moved, ideal")
    for (source, memory, access), (moved, ideal) in sorted(emulator.COUNTED.items()):
        ratio = f"{moved / ideal:.2f}" if ideal else "-"
        terminalreporter.write_line(
            f"{source:36}{memory:8}{access:8}{moved:>9}{ideal:>9}{ratio:>6}"
        )


@pytest.fixture(scope="session")
def runtime(tmp_path_factory):
    """Return the objects of the emulation itself."""
    emulator.skip_without_compiler()
    folder = tmp_path_factory.mktemp("emulation")
    jobs = [partial(emulator.compile_object, folder, source) for source in emulator.RUNTIME]
    return emulator.in_parallel(jobs)


@pytest.fixture(scope="session")
def library(runtime):
    """Return the C functions of csrc/cuda, with sanitizers if so asked."""
    folder, sanitizers = runtime[0].parent, emulator.SANITIZERS
    sources = sorted((emulator.ROOT / "csrc/cuda").glob("*.cu"))
    jobs = [partial(emulator.compile_object, folder, source, sanitizers) for source in sources]
    objects = [*emulator.in_parallel(jobs), *runtime]
    options = [f"-fsanitize={sanitizers}"] if sanitizers else []
    path = emulator.link(folder / "libadaconv_cuda.so", objects, "-shared", *options)
    return emulator.Library(path)


@pytest.fixture
def emulated(library, monkeypatch):
    """Let the CUDA backend run the emulated kernels, on CPU tensors."""
    monkeypatch.setattr(cuda, "library", library)
    return library
