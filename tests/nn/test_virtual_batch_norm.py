"""Virtual batch normalisation."""

import copy

import pytest
import torch
from torch import nn

from adaconv.nn import VirtualBatchNorm2d, fix_reference_


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def model(reference=None):
    """Two layers, so that the second one's statistics depend on how the first normalises."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), VirtualBatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1),
        VirtualBatchNorm2d(2, affine=False),
    ).double()  # fmt: skip
    nn.init.normal_(network[1].weight)
    nn.init.normal_(network[1].bias)
    return network if reference is None else fix_reference_(network, reference)


def normalised(layer, x, batch):
    """x by the statistics of all samples of ``batch``."""
    var, mean = torch.var_mean(batch, (0, 2, 3), correction=0, keepdim=True)
    y = (x - mean) / (var + layer.eps).sqrt()
    return (
        y if layer.weight is None else y * layer.weight[:, None, None] + layer.bias[:, None, None]
    )


def test_equals_the_statistics_of_reference_and_sample_together():
    reference, x = drawn(5, 3, 6, 6, seed=1) * 2 + 1, drawn(3, 3, 6, 6)
    network = model(reference)
    for i, layer in enumerate(model(reference)):
        layer.load_state_dict(network[i].state_dict())
        if isinstance(layer, VirtualBatchNorm2d):
            x = torch.cat([normalised(layer, s, torch.cat([reference, s])) for s in x.split(1)])
            reference = normalised(layer, reference, reference)
        else:
            reference, x = layer(reference), layer(x)
    torch.testing.assert_close(network(drawn(3, 3, 6, 6)), x)


def test_a_sample_does_not_see_its_batch():
    network, x = model(drawn(5, 3, 6, 6, seed=1)), drawn(3, 3, 6, 6)
    alone = torch.cat([network(sample) for sample in x.split(1)])
    torch.testing.assert_close(network(x), alone)


def test_gradients_flow_through_the_reference():
    network, x = model(drawn(2, 3, 4, 4, seed=1)), drawn(2, 3, 4, 4).requires_grad_()
    weight = network[0].weight.detach()[:, :1, :1].requires_grad_()

    def function(x, weight):
        full = torch.cat([weight.expand(-1, 1, 3, 3), torch.ones(4, 2, 3, 3)], 1)
        return torch.func.functional_call(network, {"0.weight": full}, x).sin()

    assert torch.autograd.gradcheck(function, (x, weight))
    assert torch.autograd.gradgradcheck(function, (x, weight))


def test_evaluation_never_updates():
    network, x = model(drawn(5, 3, 6, 6, seed=1)), drawn(3, 3, 6, 6)
    expected = network(x)
    before = copy.deepcopy(network.state_dict())
    network.eval()
    with torch.no_grad():
        network[0].weight.mul_(3)
        torch.testing.assert_close(network(x), network.train()(x))
        network[0].weight.div_(3)
    network(x)
    network.eval()
    torch.testing.assert_close(network(x), expected)
    torch.testing.assert_close(network.state_dict(), before)


def test_evaluation_leaves_the_buffers_alone():
    network = model(drawn(5, 3, 6, 6, seed=1)).eval()
    before = copy.deepcopy(network.state_dict())
    network(drawn(3, 3, 6, 6))
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())


def test_state_is_that_of_the_model():
    network, x = model(drawn(5, 3, 6, 6, seed=1)), drawn(3, 3, 6, 6)
    expected = network(x)
    other = model(torch.zeros(5, 3, 6, 6).double())
    other.load_state_dict(network.state_dict())
    torch.testing.assert_close(other(x), expected)
    torch.testing.assert_close(copy.deepcopy(network)(x), expected)


def test_a_layer_alone_uses_its_buffers():
    reference = drawn(5, 2, 3, 3, seed=1)
    layer, x = VirtualBatchNorm2d(2).double(), drawn(1, 2, 3, 3)
    expected = fix_reference_(nn.Sequential(layer), reference)(x)
    torch.testing.assert_close(layer(x), expected)
    assert layer._statistics is None


def test_the_reference_can_be_replaced():
    network, x = model(drawn(5, 3, 6, 6, seed=1)), drawn(3, 3, 6, 6)
    replaced = drawn(4, 3, 6, 6, seed=2)
    fix_reference_(network, replaced)
    torch.testing.assert_close(network(x), model(replaced)(x))
    assert len(network._forward_pre_hooks) == 1


def test_nothing_is_kept_where_the_forward_pass_raises():
    network = model(drawn(5, 3, 6, 6, seed=1))
    with pytest.raises(RuntimeError):
        network(drawn(1, 2, 6, 6))
    assert [network[i]._statistics for i in (1, 4)] == [None, None]
    assert [network[i]._collects for i in (1, 4)] == [False, False]


def test_nan_is_not_hidden():
    network, x = model(drawn(5, 3, 6, 6, seed=1)), drawn(3, 3, 6, 6)
    x[1, 0, 0, 0] = float("nan")
    assert network(x).isnan().flatten(1).any(1).tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("attempt", "error", "message"),
    [
        (lambda: VirtualBatchNorm2d(0), ValueError, "num_features must be .* got 0"),
        (lambda: model()(drawn(1, 3, 6, 6)), RuntimeError, "no reference batch; call fix_refere"),
        (
            lambda: VirtualBatchNorm2d(3)(torch.zeros(1, 2, 4, 4)),
            ValueError,
            r"x must have shape \(N, 3, H, W\), got \(1, 2, 4, 4\)",
        ),
        (lambda: model(torch.zeros(0, 3, 6, 6)), ValueError, "at least one sample, got shape"),
        (lambda: fix_reference_(nn.ReLU(), torch.zeros(1)), ValueError, "must have a VirtualBatch"),
        (lambda: fix_reference_(torch.zeros(1), torch.zeros(1)), TypeError, "Module, got Tensor"),
        (lambda: fix_reference_(model(), [1.0]), TypeError, "reference must be a tensor, got list"),
    ],
)
def test_refuses_arguments(attempt, error, message):
    with pytest.raises(error, match=message):
        attempt()
