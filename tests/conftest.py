"""Options and fixtures of the whole suite."""

import importlib

import pytest
import torch

import adaconv.cpu as cpu


def pytest_addoption(parser):
    parser.addoption(
        "--perturb",
        metavar="STEM.FUNCTION.PLACE",
        help="make one result of a function of adaconv.cpu.STEM wrong by 1 %: the suite must fail",
    )


def pytest_configure(config):
    name = config.getoption("--perturb")
    if name is None:
        return
    stem, function, place = name.split(".")
    kernels = importlib.import_module(f"adaconv.cpu.{stem}")
    original = getattr(kernels, function)

    def perturbed(*args):
        results = original(*args)
        if isinstance(results, torch.Tensor):
            return results * 1.01
        return tuple(r * 1.01 if i == int(place) else r for i, r in enumerate(results))

    setattr(kernels, function, perturbed)


def pytest_report_header():
    return f"adaconv backend cpu: {cpu.unavailable or cpu.variant()}"


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
