import pickle

import pytest
import torch
from adaconv_bench import baselines
from adaconv_bench.operators.adaptive_conv import FORMULAS, Layer, Usual
from adaconv_bench.operators.adaptive_conv.cases import Penalty
from adaconv_bench.registry import Provider, adaconv_provider, operator, stems
from adaconv_bench.trial import fastest, settle
from bench_cases import LAYER, NETWORK, cannot_start, provider, slow

import adaconv

OPERATOR = operator("adaptive_conv")


def test_operators_are_found_by_their_files():
    assert set(stems()) == adaconv.cpu.OPERATORS


def test_the_presets_hold_the_layers_of_the_paper():
    titles = {
        name: [case.title for case in preset.cases]
        for name, preset in OPERATOR.presets.items()
        if not preset.places
    }
    cifar10 = ["128→64 @8²", "64→32 @16²", "32→16 @32²", "16→3 @32²", "adagan-3x3 @32²"]
    stl10 = ["128→64 @12²", "64→32 @24²", "32→16 @48²", "16→3 @48²", "adagan-3x3 @48²"]
    penalties = [f"{layer}, gradients" for layer in cifar10[:4]]
    assert titles == {
        "adagan-cifar10": cifar10,
        "adagan-stl10": stl10,
        "quick": cifar10,
        "second-order": penalties,
        "penalty": penalties[2:3],
        "recompute": [f"{layer} memory=recompute" for layer in cifar10[:4]],
    }
    assert {name: OPERATOR.presets[name].batch for name in titles} == {
        "adagan-cifar10": 64,
        "adagan-stl10": 64,
        "quick": 2,
        "second-order": 16,
        "penalty": 16,
        "recompute": 64,
    }


def test_operations_are_counted_densely():
    """At batch 64 the four regressions take 77.3, 38.7, 19.3 and 0.9 GFLOP."""
    *layers, network = OPERATOR.presets["adagan-cifar10"].cases
    rates = [round(layer.flops(64) / 1e9, 1) for layer in layers]
    assert rates == [77.3, 38.7, 19.3, 0.9]
    assert network.flops(64) == sum(layer.flops(64) for layer in layers)


def test_second_derivatives_are_those_of_a_loss_of_the_gradients():
    penalty = Penalty("T", 2, 3, 4)
    problem = penalty.problem(2, torch.float64)
    x, d, P, q, gy = problem.leaves.values()
    y = adaconv.adaptive_conv2d(x, d, P, q, padding=1)
    first = torch.autograd.grad(y, (x, d), gy, create_graph=True)
    loss = (torch.cat([g.flatten() for g in first]) * _by_tensor(problem.cotangent, first)).sum()
    expected = torch.autograd.grad(loss, (x, d, P, q, gy))
    found = problem.results()
    for name, want in zip(problem.leaves, expected, strict=True):
        torch.testing.assert_close(found[name], want)


def _by_tensor(cotangent, tensors):
    """Sort the cotangent, which is by sample, by tensor."""
    parts = cotangent.split([t[0].numel() for t in tensors], 1)
    return torch.cat([part.flatten() for part in parts])


def test_every_formulation_and_backend_is_a_provider():
    names = set(OPERATOR.choices)
    assert {"eager-rows", "compile-rows", "eager-conv-tuned"} <= names
    assert {"eager", "eager-mulsum", "eager-conv", "compile", "compile-mulsum"} <= names
    assert set(adaconv.backends()) <= names
    tuned = OPERATOR.provider("eager-tuned")
    assert tuned.environment["MALLOC_MMAP_MAX_"] == "0"
    assert not OPERATOR.provider("eager").environment


def test_cases_and_providers_can_be_sent_to_another_process():
    sent = pickle.loads(pickle.dumps([*OPERATOR.choices.values(), adaconv_provider("reference")]))
    assert [p.name for p in sent] == [*OPERATOR.choices, "adaconv"]
    assert pickle.loads(pickle.dumps(LAYER)) == LAYER


@pytest.mark.parametrize(
    ("attempt", "message"),
    [
        (
            lambda: operator("adaptive_conf"),
            "no operator to benchmark .* 'adaptive_conf', did you ",
        ),
        (lambda: OPERATOR.provider("egaer"), "no provider of adaptive_conv .* mean 'eager'"),
        (lambda: OPERATOR.provider("zzz"), r"'zzz'\. There are: eager, "),
        (lambda: adaconv_provider("referense"), "no backend .* did you mean 'reference'"),
    ],
)
def test_unknown_names_give_the_nearest(attempt, message):
    with pytest.raises(ValueError, match=message):
        attempt()


def test_a_formula_takes_part_in_layers_and_networks_and_leaves_no_trace():
    calls = []

    def counted(x, d, P, q):
        calls.append(tuple(P.shape))
        return baselines.rows(x, d, P, q)

    for case, expected in ((LAYER, [(576, 8)]), (NETWORK, [(288, 8), (72, 4), (18, 2), (27, 1)])):
        problem = case.problem(2, torch.float32)
        with provider(counted).active():
            problem.forward()
        assert calls == expected
        calls.clear()
        with adaconv.backend("reference"):
            problem.forward()
        assert calls == []


def test_the_chosen_formula_of_each_layer_is_the_one_that_computes_it(monkeypatch):
    calls = []
    for name, formula in FORMULAS.named.items():

        def counted(*arguments, name=name, formula=formula):
            calls.append(name)
            return formula(*arguments)

        monkeypatch.setitem(FORMULAS.named, name, counted)
    names = {(torch.float32, 8, 8, 16, 16): "mulsum", (torch.float64, 8, 8, 16, 16): "conv"}
    with FORMULAS.standing_in(names):
        LAYER.problem(2, torch.float32).forward()
        Layer("another", 8, 4, 16).problem(2, torch.float32).forward()
        LAYER.problem(2, torch.float64).forward()
    assert calls == ["mulsum", "rows", "conv"]


def test_where_no_formula_computes_a_geometry_the_chosen_are_the_specification():
    x, d, P, q = (
        torch.randn(*s) for s in ((1, 2, 4, 4), (1, 2, 2, 2), (2, 2, 3, 3, 2), (2, 2, 3, 3))
    )
    with adaconv.backend("reference"):
        expected = adaconv.adaptive_conv2d(x, d, P, q)
    with FORMULAS.standing_in({}):
        assert torch.equal(adaconv.adaptive_conv2d(x, d, P, q), expected)


def test_a_trial_finds_the_fastest_and_leaves_out_what_cannot_run():
    candidates = {"broken": Provider("broken", cannot_start), "slow": provider(slow)}
    candidates["fast"] = provider(baselines.rows)
    assert fastest(candidates, LAYER, 2, torch.float32) == "fast"
    assert fastest({"broken": candidates["broken"]}, LAYER, 2, torch.float32) == "broken"


def test_the_best_formulations_settle_on_one_for_each_layer(monkeypatch):
    for name in FORMULAS.named:
        formula = Usual(baselines.rows if name == "conv" else slow)
        monkeypatch.setitem(FORMULAS.named, name, formula)
    settled = settle(OPERATOR.provider("eager"), [LAYER, NETWORK], 2, torch.float32, threads=1)
    assert settled.note == "T1 by conv"
    assert settled.active.args[0] == {
        (torch.float32, 8, 8, 16, 16): "conv",
        (torch.float32, 8, 4, 2, 2): "conv",
    }


def test_a_formula_refuses_what_the_baselines_do_not_compute():
    x, d, P, q = (
        torch.zeros(*s) for s in ((1, 2, 4, 4), (1, 2, 2, 2), (2, 2, 3, 3, 2), (2, 2, 3, 3))
    )
    with provider(baselines.rows).active(), pytest.raises(ValueError, match=r"got .*\(0, 0\)"):
        adaconv.adaptive_conv2d(x, d, P, q)
