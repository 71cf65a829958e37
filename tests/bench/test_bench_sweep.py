import pytest
import torch
from adaconv_bench.gate import Gate
from adaconv_bench.operators.adaptive_conv import PRESETS, PROVIDERS, Layer
from adaconv_bench.operators.adaptive_conv.cases import Block
from adaconv_bench.operators.adaptive_conv.presets import nearest, sized
from adaconv_bench.registry import adaconv_provider, used_flops
from bench_cases import NETWORK

SWEEP = PRESETS["sweep"]

UNUSUAL = [
    Layer("kernel", 2, 3, 6, kernel=5),
    Layer("kernel 1", 2, 3, 6, kernel=1),
    Layer("stride", 2, 3, 7, stride=2),
    Layer("dilation", 2, 3, (5, 8), dilation=2),
    Layer("both", 2, 3, 7, kernel=7, stride=2, dilation=2),
    Layer("features", 3, 2, 4, features=5),
]


@pytest.mark.parametrize("layer", UNUSUAL, ids=lambda layer: layer.name)
def test_any_geometry_is_computed_and_counted(layer):
    x, P = (layer.problem(2, torch.float32).leaves[name] for name in "xP")
    d = layer.problem(2, torch.float32).leaves["d"]
    pad, step = layer.padding, layer.stride
    ones = torch.nn.functional.unfold(
        torch.ones_like(x[:, :1]), layer.kernel, layer.dilation, pad, step
    )
    assert ones.shape[-1] == d.shape[2] * d.shape[3]
    pairs = P.shape[0] * P.shape[1] * P.shape[4]
    assert layer.flops(2) == 2 * pairs * ones.numel()
    assert layer.used_flops(2) == 2 * pairs * ones.sum().item()
    verdict = Gate(layer, PROVIDERS["eager"]).check(adaconv_provider(None))
    assert verdict.green, str(verdict)


@pytest.mark.parametrize("window", [1, 3])
def test_a_block_is_computed(window):
    block = Block("B", Layer("", 4, 3, 6), window)
    verdict = Gate(block, PROVIDERS["eager"]).check(adaconv_provider(None))
    assert verdict.green, str(verdict)
    problems = [block.problem(2, dtype, values=torch.bfloat16) for dtype in (torch.bfloat16,) * 2]
    for name, leaf in problems[0].leaves.items():
        assert torch.equal(leaf, problems[1].leaves[name])
        wide = block.problem(2, torch.float64, values=torch.bfloat16).leaves[name]
        assert torch.equal(leaf.double(), wide), name


def test_values_of_half_precision_are_those_that_it_has():
    for case in (*UNUSUAL, NETWORK):
        for dtype in (torch.bfloat16, torch.float16):
            half = case.problem(2, dtype, values=dtype)
            true = case.problem(2, torch.float64, values=dtype)
            for name, leaf in half.leaves.items():
                assert torch.equal(leaf.double(), true.leaves[name]), name
            assert torch.equal(half.cotangent.double(), true.cotangent)


def test_operations_of_a_network_are_those_of_its_layers():
    assert used_flops(NETWORK, 3) == sum(layer.used_flops(3) for layer in NETWORK.layers)


def test_the_sweep_varies_one_thing_at_a_time_over_its_whole_range():
    values: dict[str, list[str]] = {}
    for case in SWEEP.cases:
        place = SWEEP.places[case.name]
        values.setdefault(place.dimension, []).append(place.value)
    channels = ["1", "2", "3", "4", "8", "16", "32", "64", "128", "256", "512"]
    for dimension in ("C_in = D", "C_out", "D"):
        assert values[dimension] == channels
    for dimension in ("K_filter", "block, K_adaptive"):
        assert values[dimension] == ["1", "3", "5", "7"]
    assert {"7×7", "13×17", "33×33", "48×48"} <= set(values["picture"])
    assert values["stride, dilation"] == ["1, 1", "1, 2", "2, 1", "2, 2"]
    assert all(SWEEP.places[c.name].batch == 1 for c in SWEEP.cases if "batch 1" in c.name)
    assert len({case.name for case in SWEEP.cases}) == len(SWEEP.cases)


def test_the_nearest_is_found_by_doublings_of_features_and_output_channels():
    found = [
        nearest(Layer("", 32, out_channels, 8, features=features)).name
        for features, out_channels in [(512, 512), (64, 32), (40, 16), (32, 16), (1, 1), (16, 3)]
    ]
    assert found == ["L1", "L2", "L3", "L3", "L4", "L4"]


def test_calls_of_a_sweep_are_about_the_same_work():
    one = Layer("", 32, 32, 16)
    products = one.flops(sized(one)) / 2
    assert 0.5e9 < products < 3e9
    assert sized(Layer("", 512, 512, 16)) == 1
    assert sized(Layer("", 1, 1, 4)) == 512
