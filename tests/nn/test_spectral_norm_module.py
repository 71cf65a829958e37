"""Spectral normalisation as a parametrization, and of a whole model."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import spectral_norm as pytorchs

from adaconv.models.sngan import SNGANDiscriminator
from adaconv.nn import SpectralNorm, spectral_norm, spectral_norm_

LAYERS = {
    "conv": lambda: nn.Conv2d(4, 6, 3, groups=2),
    "transposed": lambda: nn.ConvTranspose2d(4, 6, (3, 2), stride=2),
    "transposed 1d": lambda: nn.ConvTranspose1d(4, 6, 3),
    "linear": lambda: nn.Linear(5, 3),
    "one output": lambda: nn.Linear(5, 1),
    "embedding": lambda: nn.Embedding(7, 3),
    "vector": lambda: nn.LayerNorm(5),
}


def model(norm=lambda layer: layer):
    """A small network, the same each time, with ``norm`` applied to its layers."""
    torch.manual_seed(0)
    return nn.Sequential(
        norm(nn.Conv2d(3, 8, 3)),
        nn.LeakyReLU(),
        norm(nn.ConvTranspose2d(8, 4, 4, stride=2)),
        nn.Flatten(),
        norm(nn.Linear(4 * 10 * 10, 2)),
    )


def images():
    return torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
@pytest.mark.parametrize("options", [{}, {"n_power_iterations": 3, "eps": 1e-3}, {"dim": -1}])
def test_numbers_and_names_are_pytorchs(layer, options):
    if "dim" in options and layer().weight.dim() == 1:
        options = {}
    found = []
    for norm in (spectral_norm, pytorchs):
        torch.manual_seed(0)
        wrapped = norm(layer(), **options)
        weights = [wrapped.weight for _ in range(3)]  # each access iterates
        gradient = torch.autograd.grad(weights[-1].sin().sum(), next(iter(wrapped.parameters())),
                                       allow_unused=True)  # fmt: skip
        evaluated = [wrapped.eval().weight for _ in range(2)]
        found.append((weights, evaluated, gradient, wrapped.state_dict()))
    torch.testing.assert_close(found[0], found[1])
    assert list(found[0][3]) == list(found[1][3])


@pytest.mark.parametrize(("ours", "theirs"), [(spectral_norm, pytorchs), (pytorchs, spectral_norm)])
def test_checkpoints_interchange(ours, theirs):
    saved, loaded = model(ours), model(theirs)
    for _ in range(3):
        saved(images())
    loaded.load_state_dict(saved.state_dict())
    for _ in range(2):
        torch.testing.assert_close(loaded(images()), saved(images()))
    torch.testing.assert_close(loaded.state_dict(), saved.state_dict())


def test_a_whole_model_equals_its_layers_alone():
    alone, together = model(spectral_norm), model()
    state = torch.random.get_rng_state()
    assert spectral_norm_(together) == ["0", "2", "4"]
    assert not torch.equal(torch.random.get_rng_state(), state)
    together.load_state_dict(alone.state_dict())
    for _ in range(2):
        found = [m(images()) for m in (together, alone)]
        gradients = [
            torch.autograd.grad(y.sin().sum(), list(m.parameters()))
            for y, m in zip(found, (together, alone), strict=True)
        ]
        torch.testing.assert_close(*found)
        torch.testing.assert_close(*gradients)
    torch.testing.assert_close(together.state_dict(), alone.state_dict())


def calls(monkeypatch):
    """Return a list that grows by the number of weights of each call of the operator."""
    counted = []
    original = spectral_norm_.__globals__["spectral_normalize"]

    def count(weights, *args, **options):
        counted.append(len(weights))
        return original(weights, *args, **options)

    monkeypatch.setitem(spectral_norm_.__globals__, "spectral_normalize", count)
    return counted


def test_one_call_for_all_layers(monkeypatch):
    network = SNGANDiscriminator(8, 0.1)
    counted = calls(monkeypatch)
    network(torch.zeros(1, 3, 8, 8))
    assert counted == [8]
    network.eval()(torch.zeros(1, 3, 8, 8))
    assert counted == [8, 8]
    assert network.head.weight.shape == (1, 51)
    assert counted == [8, 8, 1]


def test_a_layer_that_is_used_twice_is_normalised_once():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 3)

        def forward(self, x):
            self.weights = [self.layer.weight, self.layer.weight]
            return self.layer(self.layer(x))

    network = Twice()
    spectral_norm_(network)
    norm = network.layer.parametrizations.weight[0]
    before = norm._u.clone()
    network(torch.randn(1, 3))
    assert network.weights[0] is network.weights[1]
    assert not torch.equal(norm._u, before)
    assert norm._ready is None


def test_a_model_inside_another_is_normalised_once(monkeypatch):
    inner = model()
    spectral_norm_(inner)
    outer = nn.Sequential(inner, nn.Linear(2, 2), inner)
    outer[2] = nn.Identity()
    assert spectral_norm_(outer) == ["1"]
    counted = calls(monkeypatch)
    outer(images())
    assert counted == [4]


def test_nothing_is_kept_where_the_forward_pass_raises():
    network = model()
    spectral_norm_(network)
    with pytest.raises(RuntimeError):
        network(torch.zeros(1, 1, 6, 6))
    norms = [m for m in network.modules() if isinstance(m, SpectralNorm)]
    assert [n._ready for n in norms] == [None] * 3


def test_layers_in_other_modes_and_dtypes():
    network = nn.ModuleDict({"single": nn.Linear(3, 3), "wide": nn.Linear(3, 3).double()})
    network.forward = lambda x: network["wide"](network["single"](x).double())
    spectral_norm_(network)
    network["single"].eval()
    before = {k: v.clone() for k, v in network.state_dict().items() if k.endswith("_u")}
    network(torch.randn(2, 3))
    after = network.state_dict()
    changed = [k.split(".")[0] for k, v in before.items() if not torch.equal(v, after[k])]
    assert changed == ["wide"]


@pytest.mark.parametrize("whole", [True, False])
def test_evaluation_never_updates(whole):
    network = model(lambda layer: layer if whole else spectral_norm(layer))
    spectral_norm_(network)
    network.eval()
    before = copy.deepcopy(network.state_dict())
    first = network(images())
    assert torch.equal(network(images()), first)
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())


def test_can_be_removed():
    network = model()
    spectral_norm_(network)
    network.eval()
    expected = network(images())
    for i in (0, 2, 4):
        parametrize.remove_parametrizations(network[i], "weight")
        torch.testing.assert_close(network(images()), expected)
    assert set(network.state_dict()) == set(model().state_dict())


def test_copies_are_independent():
    network = model()
    spectral_norm_(network)
    other = copy.deepcopy(network)
    before = copy.deepcopy(network.state_dict())
    torch.testing.assert_close(other(images()), other.eval()(images()))
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
    torch.testing.assert_close(network(images()), other(images()))
    pickle.loads(pickle.dumps(spectral_norm_))


def test_penalty_on_gradients_equals_pytorchs():
    results = []
    for norm in (spectral_norm, pytorchs):
        network = model(lambda layer, norm=norm: norm(layer.double()))
        if norm is spectral_norm:
            spectral_norm_(network)
        x = images().double().requires_grad_()
        (g,) = torch.autograd.grad(network(x).sum(), x, create_graph=True)
        penalty = (g.flatten(1).norm(dim=1) - 1).square().mean()
        weights = [p for name, p in network.named_parameters() if "original" in name]
        results.append(torch.autograd.grad(penalty, weights))
    torch.testing.assert_close(results[0], results[1], rtol=1e-9, atol=1e-9)


def test_compiles_without_graph_breaks():
    network, expected = model(), model()
    spectral_norm_(network)
    spectral_norm_(expected)
    expected.load_state_dict(network.state_dict())
    compiled = torch.compile(network, fullgraph=True, backend="aot_eager")
    for _ in range(2):
        torch.testing.assert_close(compiled(images()), expected(images()))
        torch.testing.assert_close(network.state_dict(), expected.state_dict())


def test_predicate_chooses():
    network = model()
    assert spectral_norm_(network, lambda name, layer: isinstance(layer, nn.Linear)) == ["4"]
    assert not parametrize.is_parametrized(network[0])


def test_shows_what_is_unusual():
    assert repr(SpectralNorm(torch.ones(2, 2))) == "SpectralNorm()"
    assert repr(SpectralNorm(torch.ones(2, 2), 2, 1)) == "SpectralNorm(n_power_iterations=2, dim=1)"


@pytest.mark.parametrize(
    ("attempt", "error", "message"),
    [
        (lambda: spectral_norm(nn.ReLU()), ValueError, "a parameter called 'weight', got ReLU"),
        (lambda: spectral_norm(torch.ones(2, 2)), TypeError, "torch.nn.Module, got Tensor"),
        (lambda: spectral_norm_("model"), TypeError, "model must be a torch.nn.Module, got str"),
        (
            lambda: spectral_norm(nn.Linear(2, 2), n_power_iterations=0),
            ValueError,
            "n_power_iterations must be an integer of at least 1, got 0",
        ),
        (
            lambda: spectral_norm(nn.Linear(2, 2), dim=2),
            ValueError,
            r"dim must be a dimension of the weight, of shape \(2, 2\), got 2",
        ),
    ],
)
def test_refuses_arguments(attempt, error, message):
    with pytest.raises(error, match=message):
        attempt()
