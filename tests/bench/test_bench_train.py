import functools
import json
import os
import sys

import pytest
import torch
from adaconv_bench import agreement, baselines, training, training_run
from adaconv_bench.agreement import compare_block, compare_losses
from adaconv_bench.registry import Provider, adaconv_provider
from adaconv_bench.replay import noting, replay
from adaconv_bench.timing import Budget
from adaconv_bench.training import Contestant, Course, new_gan, run_match
from bench_cases import gradient_one_percent_off, one_percent_off, provider

import adaconv
from adaconv import cpu, data
from adaconv.cpu import adaptive_conv as kernels
from adaconv.nn import AdaConvBlock
from adaconv.train.comparison import Step

MODEL = {"model": "adagan-3x3", "image_size": 8, "width": 0.1}
RUN = {**MODEL, "batch": 8, "threads": 1, "steps": 2}


@pytest.fixture(autouse=True)
def pictures(monkeypatch) -> data.ImageData:
    """Noise in the place of the pictures that have to be decoded."""
    values = torch.randint(
        256, (80, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    noise = data.ImageData("noise", "train", "none", values)
    monkeypatch.setattr(training.data, "load", lambda spec, image_size: noise)
    return noise


def test_from_a_model_to_table_and_json(tmp_path, capsys):
    out = tmp_path / "out.json"
    assert training_run.run(**RUN, json=out) == 0
    text = capsys.readouterr().out
    assert "adagan-3x3 @8², batch 8, 2 steps" in text
    assert "losses of 5 steps, blocks of the first: green" in text
    assert "times faster than with eager" in text

    content = json.loads(out.read_text())
    assert content["green"] is True
    assert content["machine"]["threads"] == content["course"]["threads"] == 1
    assert set(content["trial"]) == {"eager", "eager-mulsum"}
    ours, other = content["ours"], content["other"]
    assert ours["provider"] == "adaconv"
    assert other["provider"] == min(content["trial"], key=content["trial"].get)
    assert other["provider"] in text
    for side in (ours, other):
        assert side["steps_per_second"]["count"] == 2
        assert side["images_per_second"] == pytest.approx(8 * side["steps_per_second"]["median"])
        assert [len(step) for step in side["losses"]] == [2] * 5
    expected = ours["steps_per_second"]["median"] / other["steps_per_second"]["median"]
    assert content["speedup"]["medians"] == pytest.approx(expected, rel=0.2)
    # the discriminator at first knows nothing, and learns
    assert ours["losses"][0][0] == pytest.approx(1.386, abs=0.02)
    assert ours["losses"][4][0] < ours["losses"][0][0]
    assert f"{ours['losses'][4][1]:.7f}" in text


@pytest.mark.parametrize(
    ("output", "faults"),
    [
        ("y", {"y"}),
        ("gx", {"x"}),
        ("gd", {"depthwise_weight", "x"}),
        ("gP", {"pointwise_weight"}),
        ("gq", {"pointwise_bias"}),
    ],
)
@pytest.mark.skipif(cpu.unavailable is not None, reason=f"no cpu backend: {cpu.unavailable}")
def test_a_kernel_that_is_one_percent_off_fails(output, faults, monkeypatch, tmp_path, capsys):
    function, place = {
        "y": ("forward", 0),
        "gx": ("backward", 0),
        "gd": ("backward", 1),
        "gP": ("backward", 2),
        "gq": ("backward", 3),
    }[output]
    right = getattr(kernels, function)

    def wrong(*arguments):
        results = list(right(*arguments))
        results[place] = results[place] * 1.01
        return tuple(results)

    monkeypatch.setattr(kernels, function, wrong)
    out = tmp_path / "out.json"
    assert training_run.run(**RUN, backend="cpu", json=out) == 1
    text = capsys.readouterr().out
    assert "times faster" not in text
    assert "red: " in text
    content = json.loads(out.read_text())
    assert (content["green"], content["speedup"]) == (False, None)
    verdict = content["verdict"]
    red = [name for name, error in verdict["errors"].items() if error > verdict["bounds"][name]]
    for index in range(4):
        found = {name.partition(" ")[2] for name in red if name.startswith(f"stages.{index}.")}
        assert found == faults


def test_the_trainings_that_are_compared_differ_in_nothing_else():
    gan, noise = new_gan(**MODEL), training.data.load("noise", 8)
    a, b = (Contestant(adaconv_provider("reference"), gan, noise, 4) for _ in range(2))
    for contestant in (a, b):  # one after the other: neither may depend on the other's turns
        for _ in range(3):
            contestant.turn()
    assert [step.losses for step in a.steps] == [step.losses for step in b.steps]
    for name, found in a.gan.state_dict().items():
        assert torch.equal(found, b.gan.state_dict()[name]), name
    assert not torch.equal(a.gan.generator.dense.weight, gan.generator.dense.weight)


def test_a_step_is_the_trainers_own(monkeypatch):
    turns = []
    update = training.Updates.turn

    def noted(self, sides, count, real=None):
        turns.append((*sides, count, None if real is None else len(real)))
        return update(self, sides, count, real)

    monkeypatch.setattr(training.Updates, "turn", noted)
    gan = new_gan(**MODEL)
    gan.n_dis = 2
    Contestant(adaconv_provider(None), gan, training.data.load("noise", 8), 4).turn()
    assert turns == [("discriminator", 4, 4), ("discriminator", 4, 4), ("generator", 4, None)]


def test_turns_are_interleaved_and_the_first_is_not_timed(monkeypatch):
    order = []
    turn = Contestant.turn

    def noted(self):
        order.append(self.provider.name)
        return turn(self)

    monkeypatch.setattr(Contestant, "turn", noted)
    course = Course(**MODEL, batch=4, threads=1, budget=Budget(repeats=4), warm_up=1)
    other = Provider("other", functools.partial(adaconv.backend, "reference"))
    match = run_match(course, adaconv_provider(None), [other])
    # the first pair loads the libraries' code, the last five steps are the twin's
    assert order == ["adaconv", "other"] * 6 + ["adaconv"] * 5
    for name in ("adaconv", "other"):
        seconds = match.samples[name][training.STEP]
        assert seconds == [step.seconds for step in match.steps[name][1:]]
    assert match.trial == {}


@pytest.mark.parametrize("formula", [one_percent_off, gradient_one_percent_off])
def test_a_wrong_comparison_fails(formula):
    course = Course(**MODEL, batch=8, threads=1, budget=Budget(repeats=1), warm_up=4)
    match = run_match(course, adaconv_provider(None), [provider(formula, "wrong")])
    assert match.verdict.faults


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from Linux's /proc")
def test_memory_holds_gradients_the_optimisers_state_and_what_eager_writes():
    course = Course("adagan-3x3", 8, 1.0, 64, 1, Budget(repeats=1))
    match = run_match(course, adaconv_provider(None), [provider(baselines.rows, "eager")])
    parameters = sum(p.numel() for p in new_gan("adagan-3x3", 8, 1.0).parameters()) * 4 / 2**20
    weights = 64 * 2**2 * 64 * 128 * 9 * 4 / 2**20  # those of the first layer, one copy
    assert match.memory["adaconv"] > 2.5 * parameters
    assert match.memory["eager"] > match.memory["adaconv"] + weights


def test_an_allocator_that_keeps_its_memory_has_a_process_of_its_own(monkeypatch):
    seen = []

    def here(function, course, ours, others):
        seen.append(os.environ["MALLOC_MMAP_MAX_"])
        return function(course, ours, others)

    monkeypatch.setattr(training_run, "in_fresh_process", here)
    before = os.environ.get("MALLOC_MMAP_MAX_")
    assert training_run.run(**RUN, against="eager-tuned") == 0
    assert seen == ["0"]
    assert os.environ.get("MALLOC_MMAP_MAX_") == before


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"model": "adagan-3x4"}, "did you mean 'adagan-3x3'"),
        ({"against": "eagre"}, "did you mean 'eager'"),
        ({"backend": "gpu"}, "no backend is called 'gpu'"),
        ({"image_size": 12}, "multiple of 8, got 12"),
        ({"batch": 0}, "batch must be at least 1, got 0"),
        ({"threads": 0}, "threads must be at least 1, got 0"),
        ({"steps": 0}, "repeats must be at least 1, got 0"),
        ({"seconds": 0.0}, "seconds must be positive, got 0.0"),
    ],
)
def test_wrong_usage_is_found_before_anything_runs(wrong, message, monkeypatch):
    monkeypatch.setattr(training_run, "run_match", lambda *_: pytest.fail("a match was run"))
    with pytest.raises(ValueError, match=message):
        training_run.run(**{**MODEL, **wrong})


def losses(*offsets: float) -> list[Step]:
    return [Step(1.0, (1.5 * (1 + offset), 0.5)) for offset in offsets]


def test_losses_may_differ_by_rounding_first_and_by_its_growth_later():
    exact = losses(*[0.0] * 7)
    allowed = [agreement.FIRST * 5**step for step in range(5)]
    within = losses(*[0.9 * bound for bound in allowed], 1.0, 1.0)  # two that are not compared
    assert compare_losses(within, exact, within).green
    for index, bound in enumerate(allowed):
        offsets = [0.0] * 7
        offsets[index] = -1.1 * bound
        found = losses(*offsets)
        assert compare_losses(found, exact, found).faults == [f"loss {index + 1}"]
    broken = losses(float("nan"), *[0.0] * 6)
    assert "loss 1" in compare_losses(broken, exact, exact).faults
    far = losses(0.1, 0.1, 0.1, 0.1, 0.1)
    assert len(compare_losses(exact[:5], far, far).faults) == 5  # a twin is no excuse for anything


def test_losses_may_differ_by_what_rounding_does_to_a_twin():
    exact, found = losses(*[0.0] * 5), losses(0.0, 1e-4, 1e-4, 1e-4, 1e-4)
    assert compare_losses(found, exact, found).faults == ["loss 2", "loss 3"]
    twin = losses(0.0, 1.4e-4, 1e-4, 1e-4, 1e-4)  # its largest drift so far counts
    assert compare_losses(found, exact, twin).green
    early = losses(0.0, 1e-4, 1.4e-4, 1e-4, 1e-4)  # a later one does not
    assert compare_losses(found, exact, early).faults == ["loss 2"]


def test_results_of_a_block_are_compared_one_by_one():
    true = {
        "y": torch.ones(10),
        "x": torch.full((10,), 1e-6),
        "P": torch.ones(100),
        "bias": torch.full((4,), 1e-9),
    }

    def faults(**changed: torch.Tensor) -> list[str]:
        return compare_block("b", {**true, **changed}, true).faults

    assert faults() == []
    assert faults(y=true["y"] + 1e-4) == ["b y"]
    for name, bound in (("x", agreement.BLOCK_INPUT), ("P", agreement.BLOCK_PARAMETER)):
        assert faults(**{name: (1 + 0.9 * bound) * true[name]}) == []
        assert faults(**{name: (1 + 1.1 * bound) * true[name]}) == [f"b {name}"]
    assert faults(bias=-true["bias"]) == []  # nothing but rounding
    assert faults(bias=torch.full((4,), 1e-3)) == ["b bias"]
    assert faults(P=float("nan") * true["P"]) == ["b P"]


def test_a_replay_gives_what_was_noted():
    torch.manual_seed(0)
    block = AdaConvBlock(3, 2, 3, padding=1, upsample=2, backend="reference")
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 3, 1), block)
    x = torch.randn(2, 3, 4, 4)
    with noting(network) as notes:
        with torch.no_grad():  # leaves no trace
            network(torch.zeros_like(x))
        network(x).square().sum().backward()
    network(torch.zeros_like(x)).sum().backward()  # nor does what comes later
    (noted,) = notes.values()
    assert torch.equal(noted.x, network[0](x))
    assert torch.equal(noted.cotangent, 2 * noted.results["y"])
    assert set(noted.results) == {"x", "y", *dict(block.named_parameters())}
    found = replay(block, noted)
    for name, expected in noted.results.items():
        assert torch.equal(found[name], expected), name
