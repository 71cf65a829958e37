import pytest
from adaconv_bench.timing import Budget, Ratio, Summary, interleave, quantile


class Scripted:
    """A contestant whose turns take the given times on a clock that all of them share."""

    now = 0.0
    order: list[str]

    def __init__(self, seconds: dict[str, list[float]]) -> None:
        self.seconds = {name: iter(times) for name, times in seconds.items()}
        self.order = []

    def turns(self):
        return {name: lambda name=name: self.turn(name) for name in self.seconds}

    def turn(self, name: str) -> dict[str, float]:
        taken = next(self.seconds[name])
        self.order.append(name)
        self.now += taken
        return {"forward": taken / 4, "forward+backward": taken}

    def clock(self) -> float:
        return self.now


def test_contestants_take_turns_and_the_warm_up_is_not_counted():
    script = Scripted({"a": [9.0, 1.0, 2.0], "b": [9.0, 4.0, 6.0]})
    samples = interleave(script.turns(), Budget(repeats=2), warm_up=1, clock=script.clock)
    assert script.order == ["a", "b"] * 3
    assert samples == {
        "a": {"forward": [0.25, 0.5], "forward+backward": [1.0, 2.0]},
        "b": {"forward": [1.0, 1.5], "forward+backward": [4.0, 6.0]},
    }


@pytest.mark.parametrize(
    ("each", "rounds"),
    [
        (100.0, 3),  # far too slow: the least
        (2.5, 4),  # a fifth round would end after 12.5 seconds
        (0.001, 20),  # the most
    ],
)
def test_rounds_are_as_many_as_fit_into_the_budget(each, rounds):
    script = Scripted({"a": [each] * 100})
    samples = interleave(script.turns(), Budget(seconds=11, most=20), clock=script.clock)
    assert len(samples["a"]["forward"]) == rounds


def test_repeats_overrule_the_seconds():
    script = Scripted({"a": [100.0] * 7})
    samples = interleave(script.turns(), Budget(repeats=7, seconds=1), clock=script.clock)
    assert len(samples["a"]["forward"]) == 7


@pytest.mark.parametrize("wrong", [{"repeats": 0}, {"seconds": 0.0}, {"seconds": -1.0}])
def test_a_budget_without_time_is_refused(wrong):
    (name, value), *_ = wrong.items()
    with pytest.raises(ValueError, match=f"{name} must be .* got {value}"):
        Budget(**wrong)


def test_summary_is_median_and_spread():
    summary = Summary.of([5.0, 1.0, 2.0, 3.0, 100.0, 4.0])
    assert (summary.median, summary.p20, summary.p80, summary.count) == (3.5, 2.0, 5.0, 6)


def test_one_outlier_moves_neither_ratio():
    ratio = Ratio.of(ours=[1.0, 1.0, 50.0, 1.0, 1.0], other=[4.0, 4.0, 4.0, 4.0, 90.0])
    assert ratio == Ratio(medians=4.0, pairs=4.0)


def test_pairs_cancel_a_machine_that_slows_down():
    ratio = Ratio.of(ours=[1.0, 2.0, 4.0, 8.0], other=[3.0, 6.0, 12.0, 24.0])
    assert ratio.pairs == 3.0


def test_a_ratio_of_unequal_rounds_is_refused():
    with pytest.raises(ValueError, match="shorter"):
        Ratio.of([1.0, 2.0], [1.0])


@pytest.mark.parametrize(("share", "value"), [(0.0, 1.0), (0.25, 1.5), (0.5, 2.0), (1.0, 3.0)])
def test_quantile_interpolates(share, value):
    assert quantile([3.0, 1.0, 2.0], share) == value
