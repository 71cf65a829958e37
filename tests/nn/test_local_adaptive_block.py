"""The blocks with a grid against their definition; what they share is tested in AdaConvBlock."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call

from adaconv.nn import AdaSeparableConvBlock, LocalAdaConvBlock, convert
from adaconv.nn._grid_block import smooth_interpolation
from adaconv.reference.local_adaptive import SIDES, nearest

both = pytest.mark.parametrize("kind", [LocalAdaConvBlock, AdaSeparableConvBlock])


def randomized(kind, *args, pitch=4, **options):
    """A float64 block with weights and biases that are all of a size that matters."""
    torch.manual_seed(0)
    block = kind(*args, dtype=torch.float64, pitch=pitch, **options)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.normal_()
    return block


def by_hand(block, x):
    """The block's definition for odd windows and zero padding: d at every pixel, then thinned."""
    large = x.repeat_interleave(block.upsample, 2).repeat_interleave(block.upsample, 3)
    (kh, kw), (ah, aw) = block.kernel_size, block.adaptive_kernel_size
    near = [block.padding[i] + (a - k) // 2 for i, (a, k) in enumerate([(ah, kh), (aw, kw)])]
    s = block.pitch

    def window(weight, groups=1):
        # Cells that are cut off have a centre, too: the picture goes on with zeros.
        far = (near[1], near[1] + s * block.stride[1], near[0], near[0] + s * block.stride[0])
        return F.conv2d(F.pad(large, far), weight, None, block.stride, 0, 1, groups)

    plain = F.conv2d(large, large.new_zeros(1, 4, kh, kw), None, block.stride, block.padding)
    oh, ow = plain.shape[2:]
    half = (s - 1) // 2
    d = window(block.depthwise_weight, block.in_channels)[:, :, half::s, half::s]
    d = d[:, :, : -(-oh // s), : -(-ow // s)]
    rows, columns = (torch.arange(size) % s for size in (oh, ow))
    a = window(block.interpolation_weight)[:, :, :oh, :ow]
    a = a + block.interpolation_bias[:, rows][:, :, columns]
    if block.normalize == "softmax":
        a = a.exp() / a.exp().sum(1, keepdim=True)
    b = window(block.bias_weight)[:, :, :oh, :ow]
    b = b if block.bias is None else b + block.bias[:, None, None]
    taps = F.unfold(large, block.kernel_size, 1, block.padding, block.stride)
    return apply_by_hand(block, d, a, taps.unflatten(2, (oh, ow))) + b


def apply_by_hand(block, d, a, taps):
    """The stages of the block, with the weights of every pixel."""
    down, across = (nearest(size, block.pitch, SIDES[a.shape[1]], a) for size in a.shape[2:])
    points = [(v, h) for v in down for h in across]

    def mixed(weight, bias):
        grid = torch.einsum("mk,nkij->nmij", weight.flatten(0, -2), d) + bias.reshape(-1, 1, 1)
        grid = F.leaky_relu(grid, block.negative_slope)
        w = sum(a[:, j, None] * grid[:, :, v][..., h] for j, (v, h) in enumerate(points))
        return w.unflatten(1, bias.shape)

    if isinstance(block, LocalAdaConvBlock):
        weights = mixed(block.pointwise_weight, block.pointwise_bias)
    else:
        first = mixed(block.spatial_weight, block.spatial_bias).flatten(1, 3)
        taps = (first * taps).unflatten(1, (block.in_channels, -1)).sum(2)
        weights = mixed(block.channel_weight, block.channel_bias)
    weights = weights.unflatten(1, (block.groups, -1)).flatten(3, -3)
    grouped = taps.unflatten(1, (block.groups, -1))
    return torch.einsum("ngocij,ngcij->ngoij", weights, grouped).flatten(1, 2)


@both
@pytest.mark.parametrize(
    ("kernel_size", "options"),
    [
        (3, {}),
        (3, {"padding": 1, "bias": False, "normalize": None}),
        (3, {"padding": 1, "stride": 2, "groups": 2, "negative_slope": 0.3, "pitch": 2}),
        (3, {"padding": 2, "adaptive_kernel_size": 5, "neighbours": 9}),
        (5, {"padding": (2, 1), "adaptive_kernel_size": (3, 5), "upsample": 2, "pitch": 3}),
        (1, {"stride": 2, "groups": 2, "pitch": 8}),
        ((1, 3), {"padding": (0, 1), "upsample": 3, "stride": (1, 2), "neighbours": 9}),
    ],
)
def test_values(kind, kernel_size, options):
    block = randomized(kind, 4, 6, kernel_size, **options)
    x = torch.randn(2, 4, 6, 9, dtype=torch.float64)
    torch.testing.assert_close(block(x), by_hand(block, x), rtol=1e-10, atol=1e-10)


@both
@pytest.mark.parametrize("kernel_size", [(1, 4), (4, 1), (2, 3)])
@pytest.mark.parametrize("padding_mode", ["zeros", "reflect", "circular"])
@pytest.mark.parametrize("options", [{"stride": 2}, {"padding": "same"}, {"dilation": 2}])
@pytest.mark.parametrize("batch", [(), (0,), (2,)])
def test_output_size_is_that_of_conv2d(kind, kernel_size, padding_mode, options, batch):
    shared = {**options, "padding_mode": padding_mode}
    x = torch.randn(*batch, 2, 8, 7)
    expected = nn.Conv2d(2, 4, kernel_size, **shared)(x).shape
    assert kind(2, 4, kernel_size, pitch=3, **shared)(x).shape == expected


@both
@pytest.mark.parametrize("regressor", ["separable", "full"])
def test_gradients(kind, regressor):
    block = randomized(kind, 2, 2, (2, 3), padding=1, regressor=regressor, upsample=2, pitch=2)
    names, values = zip(*block.named_parameters(), strict=True)
    x = torch.randn(1, 2, 2, 2, dtype=torch.float64, requires_grad=True)

    def call(x, *parameters):
        return functional_call(block, dict(zip(names, parameters, strict=True)), (x,))

    assert torch.autograd.gradcheck(call, (x, *values), fast_mode=True)


@pytest.mark.parametrize("neighbours", [4, 9])
@pytest.mark.parametrize("pitch", [2, 3, 4, 8])
def test_interpolation_is_smooth(neighbours, pitch):
    """It sums to 1 and gives back a linear function of the place, except near the border."""
    table = smooth_interpolation(neighbours, pitch)
    assert table.min() >= 0
    torch.testing.assert_close(table.sum(0), torch.ones(pitch, pitch, dtype=table.dtype))
    size, side = 6 * pitch, {4: 2, 9: 3}[neighbours]
    near = nearest(size, pitch, side, table)
    points = torch.stack([v for v in near for _ in near])[:, :, None].expand(-1, -1, size)
    places = (points.double() * pitch + (pitch - 1) / 2) * table.repeat(1, 6, 6)
    inner = slice(pitch, -pitch)
    expected = torch.arange(size).double()[:, None].expand(-1, size)
    torch.testing.assert_close(places.sum(0)[inner, inner], expected[inner, inner])


@both
@pytest.mark.parametrize("normalize", ["softmax", None])
@pytest.mark.parametrize("neighbours", [4, 9])
def test_starts_as_smooth_interpolation(kind, normalize, neighbours):
    block = kind(4, 2, 3, padding=1, pitch=4, neighbours=neighbours, normalize=normalize).double()
    with torch.no_grad():
        block.interpolation_weight.zero_()
    a = block._interpolation(torch.randn(1, 4, 8, 12, dtype=torch.float64), 4, 1)
    expected = smooth_interpolation(neighbours, 4).repeat(1, 2, 3)[None]
    torch.testing.assert_close(a, expected, rtol=0, atol=2e-4)
    for name, parameter in block.named_parameters():
        if name.endswith("weight") and name != "interpolation_weight":
            assert 0 < parameter.abs().max() <= 0.04 + 1e-6, name
        elif name != "interpolation_bias":
            assert parameter.eq(0).all(), name


@pytest.mark.parametrize(
    ("kind", "weights"),
    [
        (
            LocalAdaConvBlock,
            {"pointwise_weight": (6, 2, 3, 2, 4), "pointwise_bias": (6, 2, 3, 2)},
        ),
        (
            AdaSeparableConvBlock,
            {
                "spatial_weight": (4, 3, 2, 4),
                "spatial_bias": (4, 3, 2),
                "channel_weight": (6, 2, 4),
                "channel_bias": (6, 2),
            },
        ),
    ],
)
def test_state_dict_names_and_shapes(kind, weights):
    block = kind(4, 6, (3, 2), groups=2, adaptive_kernel_size=5, pitch=2, neighbours=9)
    assert {name: tuple(value.shape) for name, value in block.state_dict().items()} == {
        "depthwise_weight": (4, 1, 5, 5),
        **weights,
        "interpolation_weight": (9, 4, 5, 5),
        "interpolation_bias": (9, 2, 2),
        "bias_weight": (6, 4, 5, 5),
        "bias": (6,),
    }


@both
def test_copies_and_other_layouts_compute_the_same(cpu_backend, kind):
    block = randomized(kind, 4, 6, 3, padding=1)
    x = torch.randn(2, 4, 6, 5, dtype=torch.float64)
    expected = block(x)
    assert expected.is_contiguous()
    twin = copy.deepcopy(block).to(memory_format=torch.channels_last)
    y = twin(x.to(memory_format=torch.channels_last))
    assert y.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(y, expected)


@both
def test_compiles_to_one_graph(kind):
    block = randomized(kind, 3, 4, (3, 2))
    x = torch.randn(2, 3, 6, 5, dtype=torch.float64)
    compiled = torch.compile(block, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), block(x))


@both
def test_convert_takes_its_place(kind):
    model = nn.Sequential(nn.Conv2d(4, 8, 3, padding=1, groups=4), nn.Conv2d(8, 2, 1))
    assert convert(model, block=kind, pitch=2) == ["0", "1"]
    assert [type(block) for block in model] == [kind] * 2
    assert model[0].pitch == 2
    assert model(torch.randn(2, 4, 5, 5)).shape == (2, 2, 5, 5)
    assert repr(model[1]).endswith("pitch=2, neighbours=4, normalize='softmax')")


@both
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pitch": 0}, "pitch must be an integer of at least 1, got 0"),
        ({"neighbours": 5}, "neighbours must be 4 or 9, got 5"),
        ({"normalize": "sum"}, 'normalize must be "softmax" or None, got .sum.'),
        ({"groups": 3}, "in_channels must be a multiple of groups=3, got 4"),
    ],
)
def test_refuses_arguments(kind, options, message):
    with pytest.raises(ValueError, match=message):
        kind(4, 6, 3, **options)


def test_has_always_a_pitch_and_no_choice_of_memory():
    with pytest.raises(ValueError, match="pitch must be an integer of at least 1, got None"):
        LocalAdaConvBlock(4, 6, 3, pitch=None)
    with pytest.raises(TypeError, match="memory"):
        LocalAdaConvBlock(4, 6, 3, memory="mask")


def test_without_a_pitch_there_is_no_grid():
    plain = AdaSeparableConvBlock(4, 6, 3, neighbours=9)
    assert "pitch" not in repr(plain)
    assert not any(name.startswith("interpolation") for name in plain.state_dict())


def test_memory_is_the_arguments_whatever_is_chosen(cpu_backend):
    """With a pitch no sign bits are kept: the largest tensors are pictures."""
    x = torch.randn(2, 4, 16, 16, dtype=torch.float64)

    def run(memory):
        block, kept = randomized(AdaSeparableConvBlock, 4, 8, 3, padding=1, memory=memory), []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
            y = block(x)
        y.sum().backward()
        assert max(t.nbytes for t in kept) == x.nbytes
        return [y, *(p.grad for p in block.parameters())]

    assert all(map(torch.equal, run("mask"), run("recompute")))
