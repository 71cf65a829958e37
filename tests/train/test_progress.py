import io

import pytest
from rich.console import Console

from adaconv.train import metrics, progress
from adaconv.train.comparison import Comparison

ROW = {"discriminator_loss": 1.25, "generator_loss": 0.5, "images_per_second": 321.04}


class Clock:
    """A clock that moves when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def perf_counter(self) -> float:
        return self.now

    monotonic = perf_counter


@pytest.fixture
def clock(monkeypatch):
    fake = Clock()
    monkeypatch.setattr(metrics, "time", fake)
    monkeypatch.setattr(progress, "time", fake)
    return fake


def test_meter(clock):
    waits = []
    meter = metrics.Meter(lambda: waits.append(clock.now))
    for loss in (1.0, 2.0):
        for phase, seconds in (("data", 1), ("discriminator", 2), ("generator", 5)):
            with meter.phase(phase):
                clock.now += seconds
        clock.now += 50  # samples and the like are not counted
        meter.note({"generator_loss": loss})
        meter.images_seen(8)
    assert meter.take() == {
        "generator_loss": 1.5,
        "images_per_second": 1.0,
        "data_share": 0.125,
        "discriminator_share": 0.25,
        "generator_share": 0.625,
    }
    assert len(waits) == 6
    with meter.phase("data"):
        clock.now += 16
    meter.images_seen(48)
    assert meter.take()["images_per_second"] == 3.0
    assert meter.images_per_second == 2.0  # 64 images in 32 seconds


def test_lines_without_a_terminal(clock):
    text = io.StringIO()
    with progress.report(Console(file=text, width=40), 10, 40) as shown:
        clock.now += 60
        shown.show(19, None)
        shown.show(20, ROW)
    assert text.getvalue() == "step 20/40  D 1.250  G 0.500  321.0 images/s  0:02:00 left\n"


def test_bar_on_a_terminal():
    text = io.StringIO()
    console = Console(file=text, width=120, force_terminal=True, color_system=None)
    with progress.report(console, 10, 40) as shown:
        shown.show(20, ROW)
        shown.show(21, None)
    last = text.getvalue().rpartition("step")[2]
    assert "21/40" in last
    assert "D 1.250  G 0.500  321.0 images/s" in last


def test_comparison():
    found = Comparison("cpu", "reference", 30.0, 12.0, 5)
    assert found.ratio == 2.5
    assert "30.0 images/s on cpu, 12.0 on reference: 2.50 times as fast" in str(found)
