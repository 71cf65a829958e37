import os
import sys

import pytest
from adaconv_bench import baselines
from adaconv_bench.operators.adaptive_conv import Layer
from adaconv_bench.processes import environment, in_fresh_process, peak_memory
from adaconv_bench.race import BACKWARD, FORWARD, STEP, Track, run_race
from adaconv_bench.registry import adaconv_provider, operator
from adaconv_bench.timing import Budget
from bench_cases import LAYER, provider


def test_a_fresh_process_sees_the_environment_and_this_one_gets_its_own_back(monkeypatch):
    monkeypatch.setenv("ADACONV_BENCH_A", "before")
    with environment({"ADACONV_BENCH_A": "inside", "ADACONV_BENCH_B": "new"}):
        assert in_fresh_process(os.getenv, "ADACONV_BENCH_A") == "inside"
    assert os.environ["ADACONV_BENCH_A"] == "before"
    assert "ADACONV_BENCH_B" not in os.environ


def test_errors_of_the_process_arrive_here():
    with pytest.raises(ValueError, match="invalid literal"):
        in_fresh_process(int, "seven")


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from Linux's /proc")
def test_peak_memory_of_eager_is_that_of_its_weights():
    """It holds the regressed weights before and after the ReLU, and a gradient of each."""
    layer = Layer("M", 16, 16, 16)
    weights = 64 * 16 * 16 * (16 * 16 * 9) * 4 / 2**20
    peak = in_fresh_process(peak_memory, layer, provider(baselines.rows), 64, 1)
    assert 2 * weights < peak < 5 * weights


def test_a_race_in_another_process_brings_its_samples_back():
    known = operator("adaptive_conv")
    track = Track(LAYER, known.provider("eager"), batch=4, threads=1, budget=Budget(repeats=2))
    tuned = known.provider("eager-tuned")
    with environment(tuned.environment):
        race = in_fresh_process(run_race, track, [adaconv_provider(None), tuned], warm_up=1)
    assert race.passed("adaconv")
    assert race.passed("eager-tuned")
    for directions in race.samples.values():
        assert {name: len(seconds) for name, seconds in directions.items()} == {
            FORWARD: 2,
            BACKWARD: 2,
            STEP: 2,
        }
