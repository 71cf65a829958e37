"""AdaConvBlock against explicit loops over pixels, and against the shapes of nn.Conv2d."""

import copy
import pickle

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.func import functional_call

import adaconv
import adaconv.cpu as cpu
from adaconv.nn import AdaConvBlock

NUMPY_MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def randomized(*args, **options):
    """A float64 block with weights and biases that are all of a size that matters."""
    torch.manual_seed(0)
    block = AdaConvBlock(*args, dtype=torch.float64, **options)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.normal_()
    return block


def pair(value):
    return (value, value) if isinstance(value, int) else tuple(value)


def framed(block, x):
    """The upsampled and padded picture, computed with numpy."""
    picture = x.detach().numpy().repeat(block.upsample, 2).repeat(block.upsample, 3)
    pads = []
    for i in range(2):
        total = block.dilation[i] * (block.kernel_size[i] - 1)
        near, far = {
            "same": (total // 2, total - total // 2),
            "valid": (0, 0),
        }.get(block.padding, (block.padding[i],) * 2)
        pads.append((near, far))
    return np.pad(picture, [(0, 0), (0, 0), *pads], mode=NUMPY_MODES[block.padding_mode])


def by_hand(block, x):
    """The block's definition, one output pixel at a time."""
    picture = torch.from_numpy(framed(block, x))
    height, width = picture.shape[2:]
    margin = 16
    canvas = nn.functional.pad(picture, (margin,) * 4)
    (kh, kw), (ah, aw) = block.kernel_size, block.adaptive_kernel_size
    extent = [block.dilation[i] * (block.kernel_size[i] - 1) for i in range(2)]

    def pixel(i, j):
        top, left = i * block.stride[0], j * block.stride[1]
        patch = canvas[
            :,
            :,
            margin + top : margin + top + extent[0] + 1 : block.dilation[0],
            margin + left : margin + left + extent[1] + 1 : block.dilation[1],
        ]
        above = margin + (2 * top + extent[0] - (ah - 1)) // 2
        before = margin + (2 * left + extent[1] - (aw - 1)) // 2
        window = canvas[:, :, above : above + ah, before : before + aw]
        if block.regressor == "full":
            d = window.flatten(1)
        else:
            d = (window * block.depthwise_weight[:, 0]).sum((2, 3))
        w = torch.einsum("octuk,nk->noctu", block.pointwise_weight, d) + block.pointwise_bias
        w = torch.where(w > 0, w, w * block.negative_slope)
        grouped = patch.unflatten(1, (block.groups, -1))
        w = w.unflatten(1, (block.groups, -1))
        y = torch.einsum("ngoctu,ngctu->ngo", w, grouped).flatten(1)
        y = y + torch.einsum("nctu,octu->no", window, block.bias_weight)
        return y if block.bias is None else y + block.bias

    rows = range((height - extent[0] - 1) // block.stride[0] + 1)
    columns = range((width - extent[1] - 1) // block.stride[1] + 1)
    assert (kh, kw) == tuple(block.pointwise_weight.shape[2:4])
    return torch.stack([torch.stack([pixel(i, j) for j in columns], 2) for i in rows], 2)


@pytest.mark.parametrize(
    ("kernel_size", "options"),
    [
        (3, {}),
        (3, {"padding": 1}),
        (3, {"padding": 1, "bias": False}),
        (3, {"padding": 1, "stride": 2, "groups": 2}),
        (3, {"padding": "same", "dilation": 2}),
        (3, {"padding": 1, "adaptive_kernel_size": 5}),
        (3, {"padding": 1, "adaptive_kernel_size": 1}),
        (3, {"padding": 1, "adaptive_kernel_size": 2}),
        (3, {"padding": 1, "adaptive_kernel_size": (2, 5), "negative_slope": 0.3}),
        (3, {"padding": 1, "regressor": "full", "negative_slope": 1.0}),
        (3, {"padding": 1, "upsample": 2, "groups": 2}),
        (3, {"padding": 1, "upsample": 3, "stride": 2, "adaptive_kernel_size": (2, 5)}),
        (5, {"padding": (2, 0), "upsample": 2, "stride": (2, 3), "adaptive_kernel_size": 1}),
        (1, {"upsample": 6, "stride": 4, "adaptive_kernel_size": 4}),
        (4, {"padding": 1, "upsample": 2, "dilation": (2, 1), "stride": (1, 6)}),
        (3, {"padding": "same", "upsample": 2, "regressor": "full", "dilation": 2}),
        ((2, 3), {"padding": "same", "upsample": 2}),
        (1, {"stride": 2}),
        (5, {"dilation": (1, 2), "padding": (0, 2), "adaptive_kernel_size": 1}),
        (4, {"padding": 1, "stride": 2}),
        ((2, 3), {"padding": "same"}),
        ((2, 4), {"padding": "same", "adaptive_kernel_size": 1}),
        ((3, 2), {"padding": "valid", "regressor": "full", "stride": (1, 2)}),
        (3, {"padding": 2, "padding_mode": "reflect"}),
        (3, {"padding": (0, 2), "padding_mode": "circular", "stride": 2, "upsample": 2}),
        ((2, 3), {"padding": "same", "padding_mode": "replicate", "adaptive_kernel_size": 5}),
    ],
)
def test_values(kernel_size, options):
    block = randomized(4, 6, kernel_size, **options)
    x = torch.randn(2, 4, 6, 5, dtype=torch.float64)
    torch.testing.assert_close(block(x), by_hand(block, x), rtol=1e-10, atol=1e-10)


def padding_options():
    words = st.sampled_from(["same", "valid"])
    return st.one_of(words, st.integers(0, 2), st.tuples(st.integers(0, 2), st.integers(0, 2)))


def one_or_two(values):
    return st.one_of(values, st.tuples(values, values))


@settings(max_examples=60, deadline=None)
@given(
    kernel_size=one_or_two(st.integers(1, 4)),
    conv_options=st.fixed_dictionaries(
        {
            "stride": one_or_two(st.integers(1, 3)),
            "padding": padding_options(),
            "dilation": one_or_two(st.integers(1, 3)),
            "groups": st.sampled_from([1, 2]),
            "padding_mode": st.sampled_from(sorted(NUMPY_MODES)),
        }
    ),
    block_options=st.fixed_dictionaries(
        {
            "adaptive_kernel_size": one_or_two(st.integers(1, 6)),
            "regressor": st.sampled_from(["separable", "full"]),
        }
    ),
    size=st.tuples(st.integers(4, 9), st.integers(4, 9)),
    batch=st.sampled_from([(), (0,), (2,)]),
)
def test_output_size_is_that_of_conv2d(kernel_size, conv_options, block_options, size, batch):
    assume(conv_options["padding"] != "same" or pair(conv_options["stride"]) == (1, 1))
    block = AdaConvBlock(2, 4, kernel_size, **conv_options, **block_options)
    x = torch.randn(*batch, 2, *size)
    try:
        expected = nn.Conv2d(2, 4, kernel_size, **conv_options)(x).shape
    except RuntimeError:
        with pytest.raises((ValueError, RuntimeError)):
            block(x)
    else:
        assert block(x).shape == expected


def test_unbatched_input_is_a_batch_of_one():
    block = randomized(3, 2, 3, padding=1)
    x = torch.randn(3, 5, 4, dtype=torch.float64)
    assert torch.equal(block(x), block(x[None])[0])


@pytest.mark.skipif(cpu.unavailable is not None, reason=str(cpu.unavailable))
@pytest.mark.parametrize(
    "options", [{}, {"adaptive_kernel_size": 5}, {"kernel_size": 5, "padding": 2}]
)
def test_enlarged_picture_does_not_exist(options, monkeypatch):
    block = AdaConvBlock(
        **{"in_channels": 3, "out_channels": 2, "kernel_size": 3, "padding": 1, **options},
        upsample=2,
    )

    def refuse(x, factor):
        raise AssertionError("the picture was enlarged")

    monkeypatch.setattr("adaconv.nn._adaptive_block.enlarge", refuse)
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        y = block(torch.randn(7, 3, 6, 5, requires_grad=True))
    pictures = [t.shape for t in saved if t.shape[0] == 7 and t.dtype.is_floating_point]
    assert y.shape == (7, 2, 12, 10)
    assert set(pictures) == {(7, 3, 6, 5), (7, 3, 12, 10)}  # x and d
    with pytest.raises(AssertionError, match="enlarged"):
        AdaConvBlock(3, 2, 3, upsample=2, backend="reference")(torch.randn(1, 3, 6, 5))


def test_recomputing_block_keeps_less_and_gives_the_same():
    x = torch.randn(2, 3, 6, 5, dtype=torch.float64)

    def run(memory):
        block, kept = randomized(3, 2, 3, padding=1, memory=memory), []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
            y = block(x)
        y.sum().backward()
        return [y, *(p.grad for p in block.parameters())], sum(t.nbytes for t in kept)

    (expected, more), (got, less) = run("mask"), run("recompute")
    assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))
    assert less < more or cpu.unavailable is not None


@pytest.mark.parametrize("factor", [2, 3])
def test_upsample_is_upsampling_in_front(factor):
    block = randomized(3, 2, 3, padding=1, upsample=factor)
    plain = randomized(3, 2, 3, padding=1)
    x = torch.randn(2, 3, 3, 4, dtype=torch.float64)
    expected = nn.Sequential(nn.Upsample(scale_factor=factor), plain)(x)
    torch.testing.assert_close(block(x), expected, rtol=1e-12, atol=1e-12)


def test_without_bias_zeros_stay_zeros():
    x = torch.zeros(1, 3, 4, 4, dtype=torch.float64)
    assert randomized(3, 2, 3, bias=False)(x).eq(0).all()
    assert randomized(3, 2, 3)(x).ne(0).all()


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
    [((128, 64), 9_585_856), ((64, 32), 1_217_120), ((32, 16), 156_976), ((16, 3), 7_923)],
)
def test_parameter_count(channels, count):
    block = AdaConvBlock(*channels, 3, padding=1, device="meta")
    assert sum(p.numel() for p in block.parameters()) == count


def test_state_dict_names_and_shapes():
    def shapes(**options):
        state = AdaConvBlock(4, 6, (3, 2), groups=2, adaptive_kernel_size=5, **options).state_dict()
        return {name: tuple(value.shape) for name, value in state.items()}

    assert shapes() == {
        "depthwise_weight": (4, 1, 5, 5),
        "pointwise_weight": (6, 2, 3, 2, 4),
        "pointwise_bias": (6, 2, 3, 2),
        "bias_weight": (6, 4, 5, 5),
        "bias": (6,),
    }
    assert shapes(regressor="full", bias=False) == {
        "pointwise_weight": (6, 2, 3, 2, 100),
        "pointwise_bias": (6, 2, 3, 2),
        "bias_weight": (6, 4, 5, 5),
    }


def test_initialisation():
    torch.manual_seed(0)
    block = AdaConvBlock(32, 16, 3, padding=1)
    assert block.bias.eq(0).all()
    assert block.pointwise_bias.eq(0).all()
    for weight in (block.depthwise_weight, block.pointwise_weight, block.bias_weight):
        assert weight.abs().max() <= 0.04
    # A normal truncated at two standard deviations keeps 0.8796 of its deviation.
    assert block.pointwise_weight.std().item() == pytest.approx(0.02 * 0.8796, rel=0.01)
    assert block.pointwise_weight.mean().item() == pytest.approx(0, abs=2e-4)


def test_repr():
    assert repr(AdaConvBlock(3, 8, 3)) == (
        "AdaConvBlock(3, 8, kernel_size=(3, 3), stride=(1, 1), adaptive_kernel_size=(3, 3))"
    )
    block = AdaConvBlock(
        4, 8, (1, 2), padding="same", groups=2, bias=False, regressor="full", upsample=2
    )
    assert block.extra_repr() == (
        "4, 8, kernel_size=(1, 2), stride=(1, 1), adaptive_kernel_size=(3, 3), padding='same', "
        "groups=2, bias=False, regressor='full', upsample=2"
    )


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda b: pickle.loads(pickle.dumps(b))])
def test_copies_compute_the_same(copied):
    block = randomized(3, 2, (2, 3), padding="same")
    x = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    twin = copied(block)
    assert torch.equal(twin(x), block(x))
    with torch.no_grad():
        twin.bias += 1
    assert not torch.equal(twin(x), block(x))


def test_moves_to_channels_last_and_double():
    block = AdaConvBlock(4, 6, 3, padding=1)
    x = torch.randn(2, 4, 5, 5)
    expected = block(x)
    weight = block.pointwise_weight
    block = block.to(memory_format=torch.channels_last)
    assert block.pointwise_weight is weight
    assert block.bias_weight.is_contiguous(memory_format=torch.channels_last)
    y = block(x.to(memory_format=torch.channels_last))
    assert y.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(y, expected)
    assert {p.dtype for p in block.double().parameters()} == {torch.float64}
    torch.testing.assert_close(block(x.double()).float(), expected)


def test_gradients_follow_the_dtype():
    block = AdaConvBlock(2, 2, 3)
    block(torch.randn(1, 2, 4, 4)).sum().backward()
    before = block.pointwise_weight.grad.clone()
    block.to(torch.float64, memory_format=torch.channels_last)
    assert torch.equal(block.pointwise_weight.grad, before.double())


def test_autocast():
    block = randomized(3, 4, 3, padding=1).float()
    x = torch.randn(2, 3, 5, 5)
    with torch.autocast("cpu", torch.bfloat16):
        y = block(x)
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), block(x), rtol=0.1, atol=0.5)


@pytest.mark.parametrize("options", [{}, {"regressor": "full", "upsample": 2, "padding": "same"}])
def test_compiles_to_one_graph(options):
    block = randomized(3, 4, (3, 2), **options)
    x = torch.randn(2, 3, 5, 5, dtype=torch.float64)
    compiled = torch.compile(block, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), block(x))


def test_named_backend_is_used():
    x = torch.randn(1, 2, 4, 4)
    with pytest.raises(adaconv.BackendError, match="no backend is called 'gpu'"):
        AdaConvBlock(2, 2, 3, backend="gpu")(x)
    assert AdaConvBlock(2, 2, 3, backend="reference")(x).shape == (1, 2, 2, 2)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"in_channels": 0}, ValueError, "in_channels must be at least 1, got 0"),
        ({"out_channels": -1}, ValueError, "out_channels must be at least 1, got -1"),
        ({"in_channels": 2.0}, TypeError, r"in_channels must be an integer, got 2\.0"),
        ({"groups": 0}, ValueError, "groups must be at least 1, got 0"),
        ({"groups": 3}, ValueError, "in_channels must be a multiple of groups=3, got 4"),
        ({"groups": 4}, ValueError, "out_channels must be a multiple of groups=4, got 6"),
        ({"kernel_size": 0}, ValueError, "kernel_size must be at least 1, got 0"),
        ({"kernel_size": (3, 3, 3)}, TypeError, "kernel_size must be an integer or a pair"),
        ({"stride": 0}, ValueError, "stride must be at least 1"),
        ({"dilation": 0}, ValueError, "dilation must be at least 1"),
        ({"padding": -1}, ValueError, "padding must be at least 0, got -1"),
        ({"padding": "smae"}, ValueError, '"valid" or "same", got \'smae\''),
        ({"padding": "same", "stride": 2}, ValueError, "needs stride 1"),
        ({"padding_mode": "reflct"}, ValueError, "did you mean 'reflect'"),
        ({"adaptive_kernel_size": 0}, ValueError, "adaptive_kernel_size must be at least 1"),
        ({"regressor": "separabel"}, ValueError, "did you mean 'separable'"),
        ({"memory": "msk"}, ValueError, 'memory must be "mask" or "recompute", got .msk.'),
        ({"upsample": 0}, ValueError, "upsample must be an integer of at least 1, got 0"),
        ({"upsample": 1.5}, ValueError, r"upsample must be an integer of at least 1, got 1\.5"),
    ],
)
def test_refuses_arguments(options, error, message):
    with pytest.raises(error, match=message):
        AdaConvBlock(**{"in_channels": 4, "out_channels": 6, "kernel_size": 3, **options})


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        ([1.0], TypeError, "x must be a tensor, got list"),
        (torch.zeros(5, 5), ValueError, r"\(N, 3, H, W\) or \(3, H, W\), got \(5, 5\)"),
        (torch.zeros(1, 2, 5, 5), ValueError, r"\(3, H, W\), got \(1, 2, 5, 5\)"),
        (torch.zeros(1, 3, 5, 5).double(), TypeError, "torch.float32, got torch.float64"),
        (torch.zeros(1, 3, 5, 5).long(), TypeError, "torch.float32, got torch.int64"),
        (torch.zeros(1, 3, 5, 5, device="meta"), ValueError, "device, cpu, got meta"),
        (torch.zeros(1, 3, 2, 5), ValueError, "spans 3x3 pixels, got a padded input of 2x5"),
    ],
)
def test_refuses_input(x, error, message):
    with pytest.raises(error, match=message):
        AdaConvBlock(3, 2, 3)(x)
