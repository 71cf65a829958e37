"""Bad input to separable adaptive convolution: what was got and what was expected is said."""

import pytest
import torch

from adaconv import BackendError, adaptive_separable_conv2d


def arguments(**changes):
    good = {
        "x": torch.zeros(2, 4, 6, 7),
        "d": torch.zeros(2, 5, 4, 5),
        "P1": torch.zeros(4, 3, 3, 5),
        "q1": torch.zeros(4, 3, 3),
        "P2": torch.zeros(6, 4, 5),
        "q2": torch.zeros(6, 4),
        "b": torch.zeros(2, 6, 4, 5),
    }
    return {**good, **changes}


VALUE = [
    ({"x": torch.zeros(4, 6)}, r"x must have 4 dimensions, got shape \(4, 6\)"),
    ({"x": torch.zeros(2, 3, 6, 7)}, r"x must have P1's channels, 4, got 3"),
    ({"d": torch.zeros(2, 5, 6, 7)}, r"d must have shape \(2, 5, 4, 5\) .* got \(2, 5, 6, 7\)"),
    ({"d": torch.zeros(2, 9, 4, 5)}, r"d must have shape \(2, 5, 4, 5\)"),
    ({"P1": torch.zeros(4, 1, 3, 3, 5)}, r"P1 must have 4 dimensions, got shape"),
    ({"P1": torch.zeros(4, 0, 3, 5)}, r"P1 must have no empty dimension, got shape \(4, 0, 3, 5\)"),
    ({"P1": torch.zeros(4, 9, 3, 5)}, r"must fit into the padded input: it spans 9x3 .* 6x7"),
    ({"q1": torch.zeros(4, 3, 2)}, r"q1 must have shape \(4, 3, 3\)"),
    ({"P2": torch.zeros(6, 4, 1, 1, 5)}, r"P2 must have 3 dimensions, got shape"),
    ({"P2": torch.zeros(0, 4, 5)}, r"P2 must have no empty dimension, got shape \(0, 4, 5\)"),
    ({"P2": torch.zeros(6, 3, 5)}, r"P2 must have shape \(6, 4, 5\) .* got \(6, 3, 5\)"),
    ({"P2": torch.zeros(6, 4, 3)}, r"P2 must have shape \(6, 4, 5\) .* got \(6, 4, 3\)"),
    ({"q2": torch.zeros(6, 3)}, r"q2 must have shape \(6, 4\) .* got \(6, 3\)"),
    ({"b": torch.zeros(2, 6, 4, 4)}, r"b must have shape \(2, 6, 4, 5\)"),
    ({"stride": 0}, r"stride must be at least 1, got 0"),
    ({"padding": (1, -1)}, r"padding must be at least 0, got \(1, -1\)"),
    ({"padding": "same", "stride": 2}, r"needs stride 1, got \(2, 2\)"),
    ({"dilation": 0}, r"dilation must be at least 1"),
    ({"groups": 0}, r"groups must be a positive integer, got 0"),
    ({"groups": 2}, r"P2 must have shape \(6, 2, 5\) .* got \(6, 4, 5\)"),
    ({"groups": 3}, r"P1's 4 channels must be a multiple of groups=3"),
    ({"groups": 4}, r"P2's 6 channels must be a multiple of groups=4"),
    ({"upsample": 0}, r"upsample must be an integer of at least 1, got 0"),
    ({"memory": "disk"}, r'memory must be "mask" or "recompute", got .disk.'),
    ({"d": torch.zeros(2, 5, 4, 5, device="meta")}, r"device of x, cpu, got meta"),
]

TYPE = [
    ({"x": torch.zeros(2, 4, 6, 7, dtype=torch.int64)}, r"x must be float32.*got torch.int64"),
    ({"P2": torch.zeros(6, 4, 5, dtype=torch.float64)}, r"dtype of x, torch.float32, got .*64"),
    ({"P1": None}, r"P1 must be a tensor, got NoneType"),
    ({"P2": [[1.0]]}, r"P2 must be a tensor, got list"),
    ({"stride": 1.5}, r"stride must be an integer or a pair of integers, got 1.5"),
]


@pytest.mark.parametrize(("changes", "message"), VALUE)
def test_value_error(backend, changes, message):
    with pytest.raises(ValueError, match=message):
        adaptive_separable_conv2d(**arguments(**changes), backend=backend)


@pytest.mark.parametrize(("changes", "message"), TYPE)
def test_type_error(backend, changes, message):
    with pytest.raises(TypeError, match=message):
        adaptive_separable_conv2d(**arguments(**changes), backend=backend)


def test_named_backend_does_not_fall_back():
    meta = {name: t.to("meta") for name, t in arguments().items()}
    with pytest.raises(BackendError, match=r"'cpu' cannot run adaptive_separable"):
        adaptive_separable_conv2d(**meta, backend="cpu")
