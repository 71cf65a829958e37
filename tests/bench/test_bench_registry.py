import pickle

import pytest
import torch
from adaconv_bench import baselines
from adaconv_bench.operators.adaptive_conv import standing_in
from adaconv_bench.registry import adaconv_provider, operator, stems
from bench_cases import LAYER, NETWORK

import adaconv

OPERATOR = operator("adaptive_conv")


def test_operators_are_found_by_their_files():
    assert stems() == ["adaptive_conv"]


def test_the_presets_hold_the_layers_of_the_paper():
    titles = {
        name: [case.title for case in preset.cases] for name, preset in OPERATOR.presets.items()
    }
    cifar10 = ["128→64 @8²", "64→32 @16²", "32→16 @32²", "16→3 @32²", "adagan-3x3 @32²"]
    stl10 = ["128→64 @12²", "64→32 @24²", "32→16 @48²", "16→3 @48²", "adagan-3x3 @48²"]
    assert titles == {"adagan-cifar10": cifar10, "adagan-stl10": stl10, "quick": cifar10}
    assert {name: p.batch for name, p in OPERATOR.presets.items()} == {
        "adagan-cifar10": 64,
        "adagan-stl10": 64,
        "quick": 2,
    }


def test_operations_are_counted_densely():
    """At batch 64 the four regressions take 77.3, 38.7, 19.3 and 0.9 GFLOP."""
    *layers, network = OPERATOR.presets["adagan-cifar10"].cases
    rates = [round(layer.flops(64) / 1e9, 1) for layer in layers]
    assert rates == [77.3, 38.7, 19.3, 0.9]
    assert network.flops(64) == sum(layer.flops(64) for layer in layers)


def test_every_formulation_and_backend_is_a_provider():
    names = set(OPERATOR.choices)
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
        with standing_in(counted):
            problem.forward()
        assert calls == expected
        calls.clear()
        with adaconv.backend("reference"):
            problem.forward()
        assert calls == []


def test_a_formula_refuses_what_the_baselines_do_not_compute():
    x, d, P, q = (
        torch.zeros(*s) for s in ((1, 2, 4, 4), (1, 2, 2, 2), (2, 2, 3, 3, 2), (2, 2, 3, 3))
    )
    with standing_in(baselines.rows), pytest.raises(ValueError, match=r"got .*\(0, 0\)"):
        adaconv.adaptive_conv2d(x, d, P, q)
