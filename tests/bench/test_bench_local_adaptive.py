"""The formulations that local adaptive convolution is compared with compute the operator."""

import pytest
from adaconv_bench.gate import Gate
from adaconv_bench.operators.local_adaptive import FORMULAS, LocalLayer
from adaconv_bench.registry import operator

OPERATOR = operator("local_adaptive")
LAYERS = [
    LocalLayer("near", 5, 3, 6),
    LocalLayer("far", 4, 8, (7, 9), pitch=3),
    LocalLayer("many", 3, 2, (9, 10), neighbours=9),
]


@pytest.mark.parametrize("name", FORMULAS.named)
@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.name)
def test_formulas_compute_the_operator(layer, name):
    verdict = Gate(layer, OPERATOR.provider("reference")).check(OPERATOR.provider(f"eager-{name}"))
    assert verdict.green, str(verdict)
