"""The choice among a kernel's configurations, on a GPU that is not there."""

import pytest
import torch
from adaconv_kernels import _device, _tuning

errors = pytest.importorskip("triton.runtime.errors")

CONFIGS = ("fast", "middle", "plain")
BUCKET = (torch.float32, 64)


@pytest.fixture
def kernel(monkeypatch, tmp_path):
    """A kernel with a cache of its own, on a GPU that was not searched, with tuning turned on."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv(_tuning.VARIABLE, "1")
    monkeypatch.setattr(_tuning, "INTERPRETED", False)
    monkeypatch.setattr(_tuning, "_chosen", {})
    monkeypatch.setattr(_device, "capability", lambda tensor: (8, 0))
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a GPU")

    def some_kernel():
        pass

    some_kernel.cache_key = "source"
    return some_kernel


@pytest.fixture
def timed(monkeypatch):
    """Times by configuration, and which were timed."""
    times, calls = {"fast": 3.0, "middle": 1.0, "plain": 2.0}, []

    def time(run, config):
        calls.append(config)
        return times[config]

    monkeypatch.setattr(_tuning, "_time", time)
    return times, calls


def choose(kernel, bucket=BUCKET, configs=CONFIGS):
    return _tuning.choose(kernel, bucket, configs, lambda config: None, torch.empty(1))


def test_the_fastest_is_found_once_and_kept_on_disk(kernel, timed, monkeypatch):
    times, calls = timed
    assert choose(kernel) == choose(kernel) == "middle"
    assert sorted(calls) == sorted(CONFIGS)
    monkeypatch.setattr(_tuning, "_chosen", {})  # as in another process
    times["plain"] = 0.0
    assert choose(kernel) == "middle"
    assert len(calls) == 3
    assert choose(kernel, (torch.float32, 128)) == "plain"
    kernel.cache_key = "another source"
    monkeypatch.setattr(_tuning, "_chosen", {})
    assert choose(kernel) == "plain"


@pytest.mark.parametrize(("capability", "first"), [((9, 0), "fast"), ((8, 0), "plain")])
def test_without_tuning_the_first_of_the_list_is_taken(
    kernel, timed, monkeypatch, capability, first
):
    monkeypatch.setattr(_device, "capability", lambda tensor: capability)
    for setting in ("0", None):
        if setting is None:
            monkeypatch.delenv(_tuning.VARIABLE)
        else:
            monkeypatch.setenv(_tuning.VARIABLE, setting)
        assert choose(kernel) == first
    assert timed[1] == []


def test_nothing_is_timed_inside_a_graph(kernel, timed, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    assert choose(kernel) == "plain"
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    assert choose(kernel) == "middle"


def test_what_asks_for_too_much_is_never_chosen():
    def run(config):
        raise errors.OutOfResources(300 << 10, 227 << 10, "shared memory")

    assert _tuning._time(run, "fast") == float("inf")


def test_another_value_is_refused(kernel, monkeypatch):
    monkeypatch.setenv(_tuning.VARIABLE, "yes")
    with pytest.raises(ValueError, match="ADACONV_AUTOTUNE must be 0 or 1, got 'yes'"):
        choose(kernel)
