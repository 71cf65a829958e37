"""AdaSeparableConvBlock against its definition; what it shares is tested in AdaConvBlock."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.func import functional_call

import adaconv.cpu as cpu
from adaconv.nn import AdaSeparableConvBlock, convert


def randomized(*args, **options):
    """A float64 block with weights and biases that are all of a size that matters."""
    torch.manual_seed(0)
    block = AdaSeparableConvBlock(*args, dtype=torch.float64, **options)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.normal_()
    return block


def by_hand(block, x):
    """The block's definition for odd windows, zero padding and no dilation, tap by tap."""
    large = x.repeat_interleave(block.upsample, 2).repeat_interleave(block.upsample, 3)
    (kh, kw), (ah, aw) = block.kernel_size, block.adaptive_kernel_size

    def window(pad, weight, groups=1):
        return F.conv2d(large, weight, None, block.stride, pad, 1, groups)

    near = [block.padding[i] + (a - k) // 2 for i, (a, k) in enumerate([(ah, kh), (aw, kw)])]
    d = window(near, block.depthwise_weight, block.in_channels)
    first = torch.einsum("cuvk,nkij->ncuvij", block.spatial_weight, d)
    first = F.leaky_relu(first + block.spatial_bias[..., None, None], block.negative_slope)
    second = torch.einsum("ock,nkij->nocij", block.channel_weight, d)
    second = F.leaky_relu(second + block.channel_bias[..., None, None], block.negative_slope)
    taps = F.unfold(large, block.kernel_size, 1, block.padding, block.stride)
    u = (first * taps.unflatten(1, first.shape[1:4]).unflatten(4, d.shape[2:])).sum((2, 3))
    grouped = u.unflatten(1, (block.groups, 1, -1))
    second = second.unflatten(1, (block.groups, -1))
    y = (second * grouped).sum(3).flatten(1, 2) + window(near, block.bias_weight)
    return y if block.bias is None else y + block.bias[:, None, None]


@pytest.mark.parametrize(
    ("kernel_size", "options"),
    [
        (3, {}),
        (3, {"padding": 1, "bias": False}),
        (3, {"padding": 1, "stride": 2, "groups": 2, "negative_slope": 0.3}),
        (3, {"padding": 2, "adaptive_kernel_size": 5}),
        (5, {"padding": (2, 1), "adaptive_kernel_size": (3, 5), "upsample": 2}),
        (1, {"stride": 2, "groups": 2}),
        ((1, 3), {"padding": (0, 1), "upsample": 3, "stride": (1, 2)}),
    ],
)
def test_values(kernel_size, options):
    block = randomized(4, 6, kernel_size, **options)
    x = torch.randn(2, 4, 6, 5, dtype=torch.float64)
    torch.testing.assert_close(block(x), by_hand(block, x), rtol=1e-10, atol=1e-10)


@settings(max_examples=30, deadline=None)
@given(
    kernel_size=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    options=st.fixed_dictionaries(
        {
            "stride": st.integers(1, 3),
            "padding": st.one_of(st.sampled_from(["same", "valid"]), st.integers(0, 2)),
            "dilation": st.integers(1, 3),
            "groups": st.sampled_from([1, 2]),
            "padding_mode": st.sampled_from(["zeros", "reflect", "circular"]),
        }
    ),
    batch=st.sampled_from([(), (0,), (2,)]),
)
def test_output_size_is_that_of_conv2d(kernel_size, options, batch):
    assume(options["padding"] != "same" or options["stride"] == 1)
    block = AdaSeparableConvBlock(2, 4, kernel_size, **options)
    x = torch.randn(*batch, 2, 8, 7)
    try:
        expected = nn.Conv2d(2, 4, kernel_size, **options)(x).shape
    except RuntimeError:
        with pytest.raises((ValueError, RuntimeError)):
            block(x)
    else:
        assert block(x).shape == expected


@pytest.mark.parametrize("regressor", ["separable", "full"])
def test_gradients(regressor):
    block = randomized(2, 2, (2, 3), padding=1, regressor=regressor, upsample=2)
    names, values = zip(*block.named_parameters(), strict=True)
    x = torch.randn(1, 2, 2, 2, dtype=torch.float64, requires_grad=True)

    def call(x, *parameters):
        return functional_call(block, dict(zip(names, parameters, strict=True)), (x,))

    assert torch.autograd.gradcheck(call, (x, *values), fast_mode=True)


@pytest.mark.parametrize(
    ("channels", "count"),
    [((128, 64), 1_280_320), ((64, 32), 189_600), ((32, 16), 31_312), ((16, 3), 3_843)],
)
def test_parameter_count(channels, count):
    block = AdaSeparableConvBlock(*channels, 3, padding=1, device="meta")
    assert sum(p.numel() for p in block.parameters()) == count


def test_state_dict_names_and_shapes():
    block = AdaSeparableConvBlock(4, 6, (3, 2), groups=2, adaptive_kernel_size=5)
    assert {name: tuple(value.shape) for name, value in block.state_dict().items()} == {
        "depthwise_weight": (4, 1, 5, 5),
        "spatial_weight": (4, 3, 2, 4),
        "spatial_bias": (4, 3, 2),
        "channel_weight": (6, 2, 4),
        "channel_bias": (6, 2),
        "bias_weight": (6, 4, 5, 5),
        "bias": (6,),
    }


def test_initialisation():
    block = AdaSeparableConvBlock(32, 16, 3, padding=1)
    for name, parameter in block.named_parameters():
        if name.endswith("bias"):
            assert parameter.eq(0).all(), name
        else:
            assert 0 < parameter.abs().max() <= 0.04, name


@pytest.mark.skipif(cpu.unavailable is not None, reason=str(cpu.unavailable))
def test_enlarged_picture_does_not_exist(monkeypatch):
    def refuse(x, factor):
        raise AssertionError("the picture was enlarged")

    monkeypatch.setattr("adaconv.nn._adaptive_block.enlarge", refuse)
    block = AdaSeparableConvBlock(3, 2, 3, padding=1, upsample=2)
    assert block(torch.randn(1, 3, 6, 5)).shape == (1, 2, 12, 10)


def test_recomputing_gives_the_same():
    x = torch.randn(2, 3, 6, 5, dtype=torch.float64)

    def run(memory):
        block = randomized(3, 2, 3, padding=1, memory=memory)
        y = block(x)
        y.sum().backward()
        return [y, *(p.grad for p in block.parameters())]

    pairs = zip(run("mask"), run("recompute"), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_moves_to_channels_last_and_double():
    block = AdaSeparableConvBlock(4, 6, 3, padding=1)
    x = torch.randn(2, 4, 5, 5)
    expected = block(x)
    block = block.to(memory_format=torch.channels_last)
    y = block(x.to(memory_format=torch.channels_last))
    assert y.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(block.double()(x.double()).float(), expected)


def test_compiles_to_one_graph():
    block = randomized(3, 4, (3, 2))
    x = torch.randn(2, 3, 5, 5, dtype=torch.float64)
    compiled = torch.compile(block, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), block(x))


def test_convert_takes_its_place():
    model = nn.Sequential(nn.Conv2d(4, 8, 3, padding=1, groups=4), nn.Conv2d(8, 2, 1))
    assert convert(model, block=AdaSeparableConvBlock, negative_slope=0.2) == ["0", "1"]
    assert [type(block) for block in model] == [AdaSeparableConvBlock] * 2
    assert model[0].negative_slope == 0.2
    assert model(torch.randn(2, 4, 5, 5)).shape == (2, 2, 5, 5)
    assert convert(model) == []


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"groups": 3}, ValueError, "in_channels must be a multiple of groups=3, got 4"),
        ({"kernel_size": 0}, ValueError, "kernel_size must be at least 1, got 0"),
        ({"padding": "same", "stride": 2}, ValueError, "needs stride 1"),
        ({"memory": "msk"}, ValueError, 'memory must be "mask" or "recompute", got .msk.'),
    ],
)
def test_refuses_arguments(options, error, message):
    given = {"in_channels": 4, "out_channels": 6, "kernel_size": 3, **options}
    with pytest.raises(error, match=message):
        AdaSeparableConvBlock(**given)


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (torch.zeros(1, 2, 5, 5), ValueError, r"\(3, H, W\), got \(1, 2, 5, 5\)"),
        (torch.zeros(1, 3, 5, 5).double(), TypeError, "torch.float32, got torch.float64"),
        (torch.zeros(1, 3, 2, 5), ValueError, "spans 3x3 pixels, got a padded input of 2x5"),
    ],
)
def test_refuses_input(x, error, message):
    with pytest.raises(error, match=message):
        AdaSeparableConvBlock(3, 2, 3)(x)
