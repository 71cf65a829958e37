"""Spectral normalisation: of one layer as a parametrization, of a whole model in one call."""

from collections.abc import Callable, Iterable
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from adaconv.ops import spectral_normalize

TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)

#: The layers that :func:`spectral_norm_` normalises.
LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, *TRANSPOSED, nn.Linear, nn.Bilinear, nn.Embedding)

#: Steps of power iteration that a new parametrization makes.
FIRST_STEPS = 15

Module = TypeVar("Module", bound=nn.Module)


class SpectralNorm(nn.Module):
    r"""A parametrization that divides a weight by its spectral norm, :math:`\hat W = W / \sigma`.

    What :func:`torch.nn.utils.parametrizations.spectral_norm` registers, in less time: the names in
    the ``state_dict`` and the numbers are the same, so that checkpoints interchange; a σ of 0 alone
    gives zeros instead of NaN. In training mode each access to the weight makes
    ``n_power_iterations`` steps of power iteration, in evaluation mode none.
    :func:`torch.nn.utils.parametrize.remove_parametrizations` removes it. A weight of one dimension
    is divided by its Euclidean norm.

    Args:
        weight: the weight as it is at the start; 15 steps of power iteration are made on it.
        n_power_iterations: steps per access in training mode.
        dim: dimension of the layer's outputs, see :func:`spectral_norm`.
        eps: lower bound of norms that are divided by, see :func:`adaconv.spectral_normalize`.

    Raises:
        TypeError, ValueError: an argument does not fit; the message says what was expected.

    Source: Miyato et al., "Spectral Normalization for Generative Adversarial Networks", 2018.
    """

    _u: Tensor
    _v: Tensor

    def __init__(
        self, weight: Tensor, n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12
    ) -> None:
        super().__init__()
        if not isinstance(n_power_iterations, int) or n_power_iterations < 1:
            raise ValueError(
                f"n_power_iterations must be an integer of at least 1, got {n_power_iterations!r}"
            )
        if not isinstance(dim, int) or not -weight.dim() <= dim < weight.dim():
            raise ValueError(
                f"dim must be a dimension of the weight, of shape {tuple(weight.shape)}, "
                f"got {dim!r}"
            )
        self.n_power_iterations = n_power_iterations
        self.dim = dim
        self.eps = eps
        #: The normalised weight while a model that has computed it runs, see spectral_norm_.
        self._ready: Tensor | None = None
        if weight.dim() < 2:
            return
        with torch.no_grad():
            rows = weight.shape[dim]
            for name, size in (("_u", rows), ("_v", weight.numel() // rows)):
                vector = weight.new_empty(size).normal_()
                self.register_buffer(name, F.normalize(vector, dim=0, eps=eps))
            spectral_normalize([weight], [self._u], [self._v], FIRST_STEPS, dims=[dim], eps=eps)

    def forward(self, weight: Tensor) -> Tensor:
        """Return the normalised weight."""
        if self._ready is not None:
            return self._ready
        if weight.dim() < 2:
            return F.normalize(weight, dim=0, eps=self.eps)
        return _normalize([(self, weight)])[0]

    def extra_repr(self) -> str:
        """Return what is unusual."""
        unusual = {"n_power_iterations": 1, "dim": 0, "eps": 1e-12}
        given = {name: getattr(self, name) for name in unusual}
        return ", ".join(f"{k}={v}" for k, v in given.items() if v != unusual[k])


def spectral_norm(
    layer: Module,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int | None = None,
) -> Module:
    """Put :class:`SpectralNorm` on one parameter of a layer, and return the layer.

    Args:
        layer: the layer to change.
        name: name of the parameter.
        n_power_iterations: steps of power iteration per forward pass in training mode.
        eps: lower bound of norms that are divided by.
        dim: dimension of the layer's outputs; ``None`` is 1 for transposed convolutions, else 0.

    Raises:
        TypeError, ValueError: an argument does not fit; the message says what was expected.

    Example:
        >>> layer = spectral_norm(nn.Linear(3, 2))
        >>> list(layer.state_dict())  # doctest: +NORMALIZE_WHITESPACE
        ['bias', 'parametrizations.weight.original', 'parametrizations.weight.0._u',
         'parametrizations.weight.0._v']
    """
    if not isinstance(layer, nn.Module):
        raise TypeError(f"layer must be a torch.nn.Module, got {type(layer).__name__}")
    weight = getattr(layer, name, None)
    if not isinstance(weight, Tensor):
        raise ValueError(f"layer must have a parameter called {name!r}, got {layer}")
    if dim is None:
        dim = 1 if isinstance(layer, TRANSPOSED) else 0
    norm = SpectralNorm(weight, n_power_iterations, dim, eps)
    parametrize.register_parametrization(layer, name, norm)
    return layer


def spectral_norm_(
    model: nn.Module,
    predicate: Callable[[str, nn.Module], bool] | None = None,
    *,
    n_power_iterations: int = 1,
    eps: float = 1e-12,
) -> list[str]:
    """Normalise all layers of ``model``, once per forward pass of the model, in one call.

    Every convolution, transposed convolution, linear layer and embedding gets a
    :class:`SpectralNorm` on its weight, unless it has one. Whenever ``model`` itself is called, all
    weights are normalised together before anything else happens; a layer that it uses several times
    has the same weight each time. A layer that is called on its own normalises its own weight.

    Args:
        model: the module to change in place.
        predicate: says, of a layer's name and the layer, whether to normalise it; ``None`` takes
            all.
        n_power_iterations: steps of power iteration per forward pass in training mode.
        eps: lower bound of norms that are divided by.

    Returns:
        The names of the layers that got a :class:`SpectralNorm`, in the order of
        ``model.named_modules()``.

    Raises:
        TypeError, ValueError: an argument does not fit; the message says what was expected.

    Example:
        >>> spectral_norm_(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 1, 1)))
        ['0', '2']
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    chosen = [
        (name, layer)
        for name, layer in model.named_modules()
        if isinstance(layer, LAYERS) and not _is_normalised(layer)
        if predicate is None or predicate(name, layer)
    ]
    for _, layer in chosen:
        spectral_norm(layer, n_power_iterations=n_power_iterations, eps=eps)
    root = _Root()
    model.register_forward_pre_hook(root.prepare)
    model.register_forward_hook(root.release, always_call=True)
    return [name for name, _ in chosen]


class _Root:
    """Normalises the weights of a model before its forward pass, and forgets them after it."""

    def __init__(self) -> None:
        self.prepared: list[SpectralNorm] = []

    def prepare(self, model: nn.Module, _: object) -> None:
        """Compute all weights that nobody around this model has computed."""
        pairs = [
            (steps[0], steps.original)
            for steps in model.modules()
            if isinstance(steps, parametrize.ParametrizationList)
            if isinstance(steps[0], SpectralNorm) and steps[0]._ready is None
            if steps.original.dim() > 1
        ]
        for (norm, _), weight in zip(pairs, _normalize(pairs), strict=True):
            norm._ready = weight
            self.prepared.append(norm)

    def release(self, *_: object) -> None:
        """Forget them, also where the forward pass raised."""
        for norm in self.prepared:
            norm._ready = None
        self.prepared.clear()


def _is_normalised(layer: nn.Module) -> bool:
    return parametrize.is_parametrized(layer, "weight") and any(
        isinstance(step, SpectralNorm)
        for step in layer.get_submodule("parametrizations.weight").children()
    )


def _normalize(pairs: Iterable[tuple[SpectralNorm, Tensor]]) -> list[Tensor]:
    """Return the normalised weights, computed in one call for all that have the same settings."""
    pairs = list(pairs)
    groups: dict[tuple, list[int]] = {}
    for i, (norm, weight) in enumerate(pairs):
        steps = norm.n_power_iterations if norm.training else 0
        groups.setdefault((steps, norm.eps, weight.dtype, weight.device), []).append(i)
    normalised: dict[int, Tensor] = {}
    for (steps, eps, *_), members in groups.items():
        norms, weights = zip(*(pairs[i] for i in members), strict=True)
        us, vs, dims = [n._u for n in norms], [n._v for n in norms], [n.dim for n in norms]
        found = spectral_normalize(weights, us, vs, steps, dims=dims, eps=eps)
        normalised.update(zip(members, found, strict=True))
    return [normalised[i] for i in range(len(pairs))]
