"""Swapping the convolutions of a model."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

from adaconv.nn import AdaConvBlock, convert


class Special(nn.Conv2d):
    """A convolution that its author changed."""


class Nested(nn.Module):
    """Convolutions at several depths, one of them used in two places."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.body = nn.ModuleDict({"a": nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU())})
        self.again = self.body["a"][0]
        self.special = Special(4, 4, 1)
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        x = self.special(self.again(self.body["a"](self.stem(x))))
        return self.head(x.mean((2, 3)))


def test_swaps_in_place_and_names_what_it_swapped():
    model = Nested()
    x = torch.randn(2, 3, 5, 5)
    shape = model(x).shape
    assert convert(model) == ["stem", "body.a.0"]
    assert type(model.stem) is AdaConvBlock
    assert type(model.special) is Special
    assert model(x).shape == shape


def test_a_shared_convolution_stays_shared():
    model = Nested()
    convert(model)
    assert type(model.again) is AdaConvBlock
    assert model.again is model.body["a"][0]


def test_predicate_and_options():
    model = Nested()
    asked = []

    def predicate(name, conv):
        asked.append(name)
        return conv.kernel_size != (1, 1)

    assert convert(model, predicate, adaptive_kernel_size=5, negative_slope=0.2) == ["stem"]
    assert asked == ["stem", "body.a.0"]
    assert model.stem.adaptive_kernel_size == (5, 5)
    assert model.stem.negative_slope == 0.2
    assert type(model.again) is nn.Conv2d


def test_keeps_the_arguments():
    options = {
        "stride": (2, 1),
        "padding": (1, 2),
        "dilation": (1, 2),
        "groups": 2,
        "padding_mode": "reflect",
    }
    model = nn.Sequential(nn.Conv2d(4, 6, (3, 2), bias=False, **options))
    convert(model)
    block = model[0]
    assert {name: getattr(block, name) for name in options} == options
    assert (block.in_channels, block.out_channels, block.kernel_size) == (4, 6, (3, 2))
    assert block.bias is None


def test_keeps_device_dtype_mode_and_requires_grad():
    model = nn.Sequential(
        nn.Conv2d(2, 2, 1, device="meta"),
        nn.Conv2d(2, 2, 1, dtype=torch.float64).eval(),
        nn.Conv2d(2, 2, 1).requires_grad_(False),
    )
    model[2].bias.requires_grad_(True)
    convert(model)
    assert {p.device.type for p in model[0].parameters()} == {"meta"}
    assert {p.dtype for p in model[1].parameters()} == {torch.float64}
    assert [block.training for block in model] == [True, False, True]
    assert all(p.requires_grad for p in model[1].parameters())
    assert [name for name, p in model[2].named_parameters() if p.requires_grad] == ["bias"]


def test_leaves_the_inside_of_blocks_alone():
    class Extended(AdaConvBlock):
        def __init__(self):
            super().__init__(2, 2, 1)
            self.inner = nn.Conv2d(2, 2, 1)

    model = nn.Sequential(Extended(), nn.Conv2d(2, 2, 1))
    assert convert(model) == ["1"]
    assert type(model[0].inner) is nn.Conv2d
    assert convert(model) == []


@pytest.mark.parametrize(
    "change",
    [
        parametrizations.spectral_norm,
        parametrizations.weight_norm,
        nn.utils.spectral_norm,
        lambda conv: prune.random_unstructured(conv, "bias", 0.5),
    ],
    ids=["spectral_norm", "weight_norm", "spectral_norm by hook", "pruning"],
)
def test_refuses_computed_weights_before_it_swaps_anything(change):
    model = nn.Sequential(nn.Conv2d(2, 2, 1), change(nn.Conv2d(2, 2, 1)))
    with pytest.raises(ValueError, match="bias of '1' is computed from other parameters"):
        convert(model)
    assert type(model[0]) is nn.Conv2d
    assert convert(model, lambda name, conv: name == "0") == ["0"]


def test_a_failing_option_swaps_nothing():
    model = nn.Sequential(nn.Conv2d(2, 2, 1))
    with pytest.raises(TypeError, match="adaptive_kernel"):
        convert(model, adaptive_kernel=5)
    assert type(model[0]) is nn.Conv2d


@pytest.mark.parametrize(
    "conv",
    [nn.Conv2d(1, 1, 1), parametrizations.spectral_norm(nn.Conv2d(1, 1, 1))],
    ids=["plain", "parametrized"],
)
def test_refuses_a_bare_convolution(conv):
    with pytest.raises(ValueError, match="construct an AdaConvBlock"):
        convert(conv)


def test_refuses_what_is_no_module():
    with pytest.raises(TypeError, match=r"must be a torch\.nn\.Module, got list"):
        convert([nn.Conv2d(1, 1, 1)])
