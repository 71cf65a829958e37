"""Bad input to adaptive convolution: the message says what was got and what was expected."""

import pytest
import torch

import adaconv
from adaconv import BackendError, adaptive_conv2d


def arguments(**changes):
    good = {
        "x": torch.zeros(2, 4, 6, 7),
        "d": torch.zeros(2, 5, 4, 5),
        "P": torch.zeros(6, 4, 3, 3, 5),
        "q": torch.zeros(6, 4, 3, 3),
        "b": torch.zeros(2, 6, 4, 5),
    }
    return {**good, **changes}


VALUE = [
    ({"x": torch.zeros(4, 6)}, r"x must have 4 dimensions, got shape \(4, 6\)"),
    ({"x": torch.zeros(2, 3, 6, 7)}, r"x must have .* 4 \* 1, channels, got 3"),
    ({"d": torch.zeros(2, 5, 6, 7)}, r"d must have shape \(2, 5, 4, 5\) .* got \(2, 5, 6, 7\)"),
    ({"d": torch.zeros(2, 9, 4, 5)}, r"d must have shape \(2, 5, 4, 5\)"),
    ({"d": torch.zeros(1, 5, 4, 5)}, r"d must have shape \(2, 5, 4, 5\)"),
    ({"P": torch.zeros(6, 4, 3, 3)}, r"P must have 5 dimensions"),
    ({"P": torch.zeros(6, 0, 3, 3, 5)}, r"P must have no empty dimension"),
    ({"P": torch.zeros(6, 4, 9, 3, 5)}, r"must fit into the padded input: it spans 9x3 .* 6x7"),
    ({"q": torch.zeros(6, 4, 3, 2)}, r"q must have shape \(6, 4, 3, 3\)"),
    ({"b": torch.zeros(2, 6)}, r"b must have 4 dimensions"),
    ({"b": torch.zeros(2, 6, 4, 4)}, r"b must have shape \(2, 6, 4, 5\)"),
    ({"stride": 0}, r"stride must be at least 1, got 0"),
    ({"padding": (1, -1)}, r"padding must be at least 0, got \(1, -1\)"),
    ({"padding": "full"}, r"padding must be .* got 'full'"),
    ({"padding": "same", "stride": 2}, r"needs stride 1, got \(2, 2\)"),
    ({"dilation": 0}, r"dilation must be at least 1"),
    ({"groups": 0}, r"groups must be a positive integer, got 0"),
    ({"upsample": 0}, r"upsample must be an integer of at least 1, got 0"),
    ({"upsample": 1.5}, r"upsample must be an integer of at least 1, got 1\.5"),
    ({"memory": "disk"}, r'memory must be "mask" or "recompute", got .disk.'),
    ({"upsample": 2}, r"d must have shape \(2, 5, 10, 12\) .* got \(2, 5, 4, 5\)"),
    ({"groups": 2}, r"x must have .* 4 \* 2, channels, got 4"),
    ({"groups": 4, "x": torch.zeros(2, 16, 6, 7)}, r"6 output channels must be a multiple of"),
    ({"d": torch.zeros(2, 5, 4, 5, device="meta")}, r"device of x, cpu, got meta"),
]

TYPE = [
    ({"x": torch.zeros(2, 4, 6, 7, dtype=torch.int64)}, r"x must be float32.*got torch.int64"),
    ({"d": torch.zeros(2, 5, 4, 5, dtype=torch.float64)}, r"dtype of x, torch.float32, got .*64"),
    ({"x": [[1.0]]}, r"x must be a tensor, got list"),
    ({"P": None}, r"P must be a tensor, got NoneType"),
    ({"stride": (1, 2, 3)}, r"stride must be an integer or a pair"),
    ({"stride": 1.5}, r"stride must be an integer or a pair of integers, got 1.5"),
]


@pytest.mark.parametrize(("changes", "message"), VALUE)
def test_value_error(backend, changes, message):
    with pytest.raises(ValueError, match=message):
        adaptive_conv2d(**arguments(**changes), backend=backend)


@pytest.mark.parametrize(("changes", "message"), TYPE)
def test_type_error(backend, changes, message):
    with pytest.raises(TypeError, match=message):
        adaptive_conv2d(**arguments(**changes), backend=backend)


def test_unknown_backend():
    with pytest.raises(BackendError, match="no backend is called 'gpu'; there are: cpu, triton,"):
        adaptive_conv2d(**arguments(), backend="gpu")
    with pytest.raises(BackendError, match="no backend"), adaconv.backend("gpu"):
        pass


def test_named_backend_does_not_fall_back():
    meta = {name: t.to("meta") for name, t in arguments().items()}
    with pytest.raises(BackendError, match=r"'cpu' cannot run adaptive_conv.*reference: can run"):
        adaptive_conv2d(**meta, backend="cpu")


def test_scope_chooses_the_backend(cpu_backend):
    x = arguments()["x"].requires_grad_()
    with adaconv.backend("reference"):
        assert "Adaptive" not in type(adaptive_conv2d(**arguments(x=x)).grad_fn).__name__
        y = adaptive_conv2d(**arguments(x=x), backend=cpu_backend)
        assert "adaptive_conv2d" in type(y.grad_fn).__name__
    assert "adaptive_conv2d" in type(adaptive_conv2d(**arguments(x=x)).grad_fn).__name__
