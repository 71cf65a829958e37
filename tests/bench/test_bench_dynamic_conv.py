"""The formulations that dynamic convolution is compared with compute the operator."""

import pytest
import torch
from adaconv_bench.gate import Gate
from adaconv_bench.operators.dynamic_conv.cases import Layer
from adaconv_bench.operators.dynamic_conv.providers import FORMULAS
from adaconv_bench.registry import operator

OPERATOR = operator("dynamic_conv")
LAYERS = [
    Layer("plain", 5, 3, 6),
    Layer("depthwise", 4, 8, 5, groups=4, kernel=5),
    Layer("shared", 6, 2, 7, groups=6),
]


@pytest.mark.parametrize("name", ["eager", *(f"eager-{name}" for name in FORMULAS.named)])
@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.name)
def test_formulas_compute_the_operator(layer, name):
    verdict = Gate(layer, OPERATOR.provider("reference")).check(OPERATOR.provider(name))
    assert verdict.green, str(verdict)


def test_the_fastest_is_chosen_for_each_layer():
    chosen = OPERATOR.provider("eager").choose(LAYERS[:2], 2, torch.float32)
    assert chosen.note.startswith("plain by ")
    assert ", depthwise by " in chosen.note
    names = chosen.active.args[0]
    assert set(names) == {
        (torch.float32, (3, 5, 3, 3, 6, 6)),
        (torch.float32, (8, 1, 5, 5, 5, 5)),
    }
    assert set(names.values()) <= set(FORMULAS.named)
