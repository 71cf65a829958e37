"""Options and fixtures of the whole suite."""

import os

import pytest
import torch

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")  # read when Triton is imported

import adaconv
import adaconv.cpu as cpu
from adaconv.ops import _dispatch

#: Where the Triton kernels run: on a GPU, or in Triton's interpreter.
TRITON_DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def pytest_addoption(parser):
    parser.addoption(
        "--perturb",
        metavar="STEM.FUNCTION.PLACE",
        help="make one result of a backend's function wrong by 1 %: the suite must then fail",
    )
    parser.addoption(
        "--every-mask",
        action="store_true",
        help="leave out every mask of the Triton kernels, one at a time, not every third",
    )


def pytest_configure(config):
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1))
    torch.set_num_threads(max(1, torch.get_num_threads() // workers))
    name = config.getoption("--perturb")
    if name is None:
        return
    stem, function, place = name.split(".")
    for backend, reason in adaconv.backends(stem).items():
        if reason is None and backend in _dispatch.PACKAGES:
            kernels = _dispatch.kernels(backend, stem)
            setattr(kernels, function, _perturbed(getattr(kernels, function), int(place)))


def _perturbed(original, place):
    def falsified(result):
        return [r * 1.01 for r in result] if isinstance(result, list) else result * 1.01

    def perturbed(*args):
        results = original(*args)
        if isinstance(results, torch.Tensor):
            return falsified(results)
        return type(results)(falsified(r) if i == place else r for i, r in enumerate(results))

    return perturbed


def pytest_report_header():
    triton = adaconv.backends()["triton"] or TRITON_DEVICE
    return f"adaconv backends: cpu: {cpu.unavailable or cpu.variant()}; triton: {triton}"


@pytest.fixture(params=["cpu", "reference"])
def backend(request):
    """Run the test on each backend; one that is missing here is skipped with its reason."""
    if request.param == "cpu" and cpu.unavailable is not None:
        pytest.skip(cpu.unavailable)
    return request.param


@pytest.fixture
def cpu_backend():
    """Skip, with the reason, where the CPU backend is missing."""
    if cpu.unavailable is not None:
        pytest.skip(cpu.unavailable)
    return "cpu"


@pytest.fixture
def triton_device():
    """Return where the Triton kernels run; skip, with the reason, where they do not."""
    reason = _dispatch.BACKENDS["triton"]("adaptive_conv", [torch.empty(0, device=TRITON_DEVICE)])
    if reason is not None:
        pytest.skip(reason)
    return TRITON_DEVICE


@pytest.fixture
def poisoned():
    """Fill what is allocated, and not zeroed, with NaN."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(before)


@pytest.fixture
def perturb(monkeypatch):
    """Make one result of a module's functions wrong by 1 %, for this test."""

    def apply(kernels, output):
        function, place = output.split(".")
        monkeypatch.setattr(kernels, function, _perturbed(getattr(kernels, function), int(place)))

    return apply
