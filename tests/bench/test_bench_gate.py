import pytest
import torch
from adaconv_bench import baselines
from adaconv_bench.gate import Gate, Verdict, relative_error
from adaconv_bench.operators.adaptive_conv import FORMULAS, Layer
from adaconv_bench.registry import adaconv_provider, operator
from bench_cases import (
    LAYER,
    NETWORK,
    gradient_one_percent_off,
    not_a_number,
    one_percent_off,
    provider,
)

OPERATOR = operator("adaptive_conv")
CASES = [LAYER, NETWORK]


def gate(case) -> Gate:
    return Gate(case, provider(baselines.rows, "eager"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("backend", [None, "reference"])
def test_adaconv_is_green(case, backend):
    verdict = gate(case).check(adaconv_provider(backend))
    assert verdict.green, str(verdict)


@pytest.mark.parametrize("name", FORMULAS.named)
def test_every_baseline_is_green(name):
    verdict = gate(LAYER).check(OPERATOR.provider(f"eager-{name}"))
    assert verdict.green, str(verdict)
    assert {"fp64 y", "fp64 P", "integer d", "integer b"} <= set(verdict.errors)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_one_percent_in_the_output_is_red(case):
    verdict = gate(case).check(provider(one_percent_off))
    assert not verdict.green
    assert "fp64 y" in verdict.faults


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_one_percent_in_the_gradients_alone_is_red(case):
    verdict = gate(case).check(provider(gradient_one_percent_off))
    assert verdict.faults
    assert "fp64 y" not in verdict.faults


def test_one_percent_is_found_by_each_check():
    truth = LAYER.problem(8, torch.float32).results()
    wrong = {name: 1.01 * tensor for name, tensor in truth.items()}
    full_size = gate(LAYER).check_full_size(wrong, truth)
    assert set(full_size.faults) == {f"full size {name}" for name in truth}
    integers = gate(LAYER).check(provider(one_percent_off)).faults
    assert {"integer y", "integer x", "integer d", "integer P", "integer q"} <= set(integers)


def test_not_a_number_is_red():
    verdict = gate(LAYER).check(provider(not_a_number))
    assert "fp64 y" in verdict.faults
    assert str(verdict).startswith("red")


def test_nothing_checked_is_red():
    assert not Verdict().green
    assert str(Verdict()) == "red: nothing was checked"


def test_a_verdict_names_the_worst_failure_and_both_numbers():
    verdict = Verdict({"fp64 y": 0.02}, {"fp64 y": 0.1}) | Verdict(
        {"fp64 d": 0.5, "fp64 P": 0.3}, {"fp64 d": 0.25, "fp64 P": 0.25}
    )
    assert str(verdict) == "red: fp64 d is off by 0.5, allowed 0.25"
    green = Verdict({"fp64 y": 0.02}, {"fp64 y": 0.1})
    assert str(green) == "green: 1 checks, largest error 20% of its bound"


def test_vanishing_gradients_are_measured_by_the_largest():
    """The gradient of a bias in front of batch normalisation is rounding noise in everyone."""
    problem = NETWORK.problem(2, torch.float64)
    norms = {name: tensor.norm().item() for name, tensor in problem.results().items()}
    assert norms["stages.0.conv.bias"] < 1e-12 * max(norms.values())
    verdict = gate(NETWORK).check(adaconv_provider("reference"))
    assert verdict.errors["fp64 stages.0.conv.bias"] < 1e-5


def test_relative_error():
    ones = torch.ones(4)
    assert relative_error(1.5 * ones, ones) == 0.5
    assert relative_error(1.5 * ones, ones, unit=10.0) == 0.1
    assert relative_error(ones, torch.zeros(4)) == 2.0
    assert relative_error(ones, torch.ones(2, 2)) == float("inf")


def test_problems_are_the_same_in_every_dtype():
    for case in CASES:
        low, high = (case.problem(2, dtype) for dtype in (torch.float32, torch.float64))
        assert list(low.leaves) == list(high.leaves)
        for name, leaf in low.leaves.items():
            assert torch.equal(leaf.double(), high.leaves[name]), name
        assert torch.equal(low.cotangent.double(), high.cotangent)


def test_no_pre_activation_of_a_layer_is_within_rounding_of_zero():
    leaves = Layer("L", 16, 4, 6).problem(2, torch.float64).leaves
    features = leaves["d"].permute(0, 2, 3, 1).reshape(-1, 16)
    before = features @ leaves["P"].flatten(0, 3).t() + leaves["q"].flatten()
    assert before.abs().min() >= 0.5 / 512
    assert 0.3 < (before > 0).double().mean() < 0.7


def test_integer_problems_have_ties_at_zero():
    leaves = Layer("L", 16, 4, 6).problem(2, torch.float64, integers=True).leaves
    assert all(torch.equal(leaf, leaf.round()) for leaf in leaves.values())
    features = leaves["d"].permute(0, 2, 3, 1).reshape(-1, 16)
    before = features @ leaves["P"].flatten(0, 3).t() + leaves["q"].flatten()
    assert (before == 0).any()


def test_a_network_refuses_integers():
    with pytest.raises(ValueError, match="no problem in integers"):
        NETWORK.problem(2, torch.float32, integers=True)
