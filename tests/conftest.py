"""Options and fixtures of the whole suite."""

import pytest

import adaconv.cpu as cpu

#: What ``--perturb`` can falsify: (function of the CPU backend, place in its result).
OUTPUTS = {
    "y": ("forward", 0),
    "gx": ("backward", 0),
    "gd": ("backward", 1),
    "gP": ("backward", 2),
    "gq": ("backward", 3),
}


def pytest_addoption(parser):
    parser.addoption(
        "--perturb",
        choices=OUTPUTS,
        help="make this output of the CPU kernel wrong by 1 %: the suite must then fail",
    )


def pytest_configure(config):
    name = config.getoption("--perturb")
    if name is None:
        return
    from adaconv.cpu import adaptive_conv

    function, place = OUTPUTS[name]
    original = getattr(adaptive_conv, function)

    def perturbed(*args):
        results = list(original(*args))
        results[place] = results[place] * 1.01
        return tuple(results)

    setattr(adaptive_conv, function, perturbed)


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
