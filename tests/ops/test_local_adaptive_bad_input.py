"""Bad input to local adaptive convolution: what was got and what was expected is said."""

import pytest
import torch

from adaconv import BackendError, local_adaptive_conv2d


def arguments(**changes):
    good = {
        "x": torch.zeros(2, 4, 6, 9),
        "d": torch.zeros(2, 5, 1, 2),
        "P": torch.zeros(6, 4, 3, 3, 5),
        "q": torch.zeros(6, 4, 3, 3),
        "a": torch.zeros(2, 4, 4, 7),
        "b": torch.zeros(2, 6, 4, 7),
        "pitch": 4,
    }
    return {**good, **changes}


VALUE = [
    ({"x": torch.zeros(4, 6)}, r"x must have 4 dimensions, got shape \(4, 6\)"),
    ({"x": torch.zeros(2, 3, 6, 9)}, r"P's input channels times groups, 4 \* 1, channels, got 3"),
    (
        {"d": torch.zeros(2, 5, 4, 7)},
        r"d must have shape \(2, 5, 1, 2\) \(.*points of the grid\), got \(2, 5, 4, 7\)",
    ),
    ({"pitch": 2}, r"d must have shape \(2, 5, 2, 4\) .* got \(2, 5, 1, 2\)"),
    ({"pitch": 0}, r"pitch must be an integer of at least 1, got 0"),
    ({"pitch": 2.0}, r"pitch must be an integer of at least 1, got 2.0"),
    ({"P": torch.zeros(6, 4, 0, 3, 5)}, r"P must have no empty dimension"),
    ({"P": torch.zeros(6, 4, 9, 3, 5)}, r"must fit into the padded input: it spans 9x3 .* 6x9"),
    ({"q": torch.zeros(6, 4, 3, 2)}, r"q must have shape \(6, 4, 3, 3\)"),
    ({"a": torch.zeros(2, 5, 4, 7)}, r"a must have 4 or 9 neighbours, got shape \(2, 5, 4, 7\)"),
    ({"a": torch.zeros(2, 9, 4, 6)}, r"a must have shape \(2, 9, 4, 7\) .* got \(2, 9, 4, 6\)"),
    ({"b": torch.zeros(2, 6, 4, 4)}, r"b must have shape \(2, 6, 4, 7\)"),
    ({"padding": "same", "stride": 2}, r"needs stride 1, got \(2, 2\)"),
    ({"groups": 0}, r"groups must be an integer of at least 1, got 0"),
    ({"groups": 2}, r"P's input channels times groups, 4 \* 2, channels, got 4"),
    ({"upsample": 0}, r"upsample must be an integer of at least 1, got 0"),
    ({"a": torch.zeros(2, 4, 4, 7, device="meta")}, r"device of x, cpu, got meta"),
]

TYPE = [
    ({"x": torch.zeros(2, 4, 6, 9, dtype=torch.int64)}, r"x must be float32.*got torch.int64"),
    ({"a": torch.zeros(2, 4, 4, 7).double()}, r"dtype of x, torch.float32, got torch.float64"),
    ({"a": None}, r"a must be a tensor, got NoneType"),
    ({"stride": 1.5}, r"stride must be an integer or a pair of integers, got 1.5"),
]


@pytest.mark.parametrize(("changes", "message"), VALUE)
def test_value_error(backend, changes, message):
    with pytest.raises(ValueError, match=message):
        local_adaptive_conv2d(**arguments(**changes), backend=backend)


@pytest.mark.parametrize(("changes", "message"), TYPE)
def test_type_error(backend, changes, message):
    with pytest.raises(TypeError, match=message):
        local_adaptive_conv2d(**arguments(**changes), backend=backend)


def test_named_backend_does_not_fall_back():
    meta = {k: v.to("meta") if isinstance(v, torch.Tensor) else v for k, v in arguments().items()}
    with pytest.raises(BackendError, match=r"'cpu' cannot run local_adaptive"):
        local_adaptive_conv2d(**meta, backend="cpu")
