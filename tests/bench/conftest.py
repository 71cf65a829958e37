import pytest
import torch
from adaconv_bench import runner
from adaconv_bench.operators import adaptive_conv
from adaconv_bench.registry import Preset
from bench_cases import LAYER


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def tiny(monkeypatch) -> str:
    """The name of a preset that takes milliseconds."""
    preset = Preset("one small layer", 32, (LAYER,))
    monkeypatch.setitem(adaptive_conv.PRESETS, "tiny", preset)
    return "tiny"


@pytest.fixture
def no_processes(monkeypatch) -> None:
    """Do here what belongs into a fresh process: the numbers are of no use, but come at once."""

    def here(function, *arguments, **options):
        return function(*arguments, **options)

    monkeypatch.setattr(runner, "in_fresh_process", here)
