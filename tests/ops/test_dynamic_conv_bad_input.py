"""Bad input to dynamic convolution: the message says what was got and what was expected."""

import pytest
import torch

from adaconv import BackendError, dynamic_conv2d


def arguments(**changes):
    good = {
        "x": torch.zeros(2, 4, 6, 7),
        "w": torch.zeros(2, 6, 4, 3, 3, 4, 5),
        "b": torch.zeros(2, 6, 4, 5),
    }
    return {**good, **changes}


VALUE = [
    ({"x": torch.zeros(4, 6)}, r"x must have 4 dimensions, got shape \(4, 6\)"),
    ({"x": torch.zeros(2, 3, 6, 7)}, r"x must have .* 4 \* 1, channels, got 3"),
    ({"w": torch.zeros(2, 6, 4, 3, 3)}, r"w must have 7 dimensions"),
    (
        {"w": torch.zeros(2, 6, 4, 3, 3, 6, 7)},
        r"w must have shape \(2, 6, 4, 3, 3, 4, 5\) .*got \(2, 6, 4, 3, 3, 6, 7\)",
    ),
    ({"w": torch.zeros(2, 6, 4, 3, 3, 1, 1)}, r"w must have shape \(2, 6, 4, 3, 3, 4, 5\)"),
    ({"w": torch.zeros(1, 6, 4, 3, 3, 4, 5)}, r"w must have shape \(2, 6, 4, 3, 3, 4, 5\)"),
    ({"w": torch.zeros(2, 0, 4, 3, 3, 4, 5)}, r"w must have no empty dimension of a filter"),
    ({"w": torch.zeros(2, 6, 4, 9, 3, 1, 5)}, r"must fit .* it spans 9x3 pixels, .* 6x7"),
    ({"b": torch.zeros(2, 6)}, r"b must have 4 dimensions"),
    ({"b": torch.zeros(2, 6, 1, 1)}, r"b must have shape \(2, 6, 4, 5\)"),
    ({"stride": 0}, r"stride must be at least 1, got 0"),
    ({"padding": (1, -1)}, r"padding must be at least 0, got \(1, -1\)"),
    ({"padding": "full"}, r"padding must be .* got 'full'"),
    ({"padding": "same", "stride": 2}, r"needs stride 1, got \(2, 2\)"),
    ({"padding": 1}, r"w must have shape \(2, 6, 4, 3, 3, 6, 7\)"),
    ({"dilation": 0}, r"dilation must be at least 1"),
    ({"groups": 0}, r"groups must be an integer of at least 1, got 0"),
    ({"groups": 2}, r"x must have .* 4 \* 2, channels, got 4"),
    (
        {"groups": 4, "w": torch.zeros(2, 6, 1, 3, 3, 4, 5)},
        r"6 filters must be a multiple or a divisor of groups=4",
    ),
    ({"w": torch.zeros(2, 6, 4, 3, 3, 4, 5, device="meta")}, r"device of x, cpu, got meta"),
]

TYPE = [
    ({"x": torch.zeros(2, 4, 6, 7, dtype=torch.int64)}, r"x must be float32.*got torch.int64"),
    ({"w": arguments()["w"].double()}, r"w must have the dtype of x, torch.float32, got .*64"),
    ({"w": [[1.0]]}, r"w must be a tensor, got list"),
    ({"stride": 1.5}, r"stride must be an integer or a pair of integers, got 1.5"),
]


@pytest.mark.parametrize(("changes", "message"), VALUE)
def test_value_error(backend, changes, message):
    with pytest.raises(ValueError, match=message):
        dynamic_conv2d(**arguments(**changes), backend=backend)


@pytest.mark.parametrize(("changes", "message"), TYPE)
def test_type_error(backend, changes, message):
    with pytest.raises(TypeError, match=message):
        dynamic_conv2d(**arguments(**changes), backend=backend)


def test_named_backend_does_not_fall_back():
    meta = {name: t.to("meta") for name, t in arguments().items()}
    with pytest.raises(BackendError, match=r"'cpu' cannot run dynamic_conv .*reference: can run"):
        dynamic_conv2d(**meta, backend="cpu")
