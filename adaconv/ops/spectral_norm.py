"""Spectral normalisation: schema, checks, autograd and the public function."""

import contextlib
from collections.abc import Sequence

import torch
from torch import Tensor

from adaconv.ops import _autocast, _checks, _dispatch
from adaconv.reference import spectral_norm as reference

STEM = "spectral_norm"


def spectral_normalize(
    weights: Sequence[Tensor],
    us: Sequence[Tensor],
    vs: Sequence[Tensor],
    n_power_iterations: int = 1,
    *,
    dims: Sequence[int] | None = None,
    eps: float = 1e-12,
    backend: str | None = None,
) -> list[Tensor]:
    r"""Divide weights by estimates of their spectral norms, all of a network's in one call.

    .. math::
        u \leftarrow \frac{W v}{\lVert W v\rVert}, \quad
        v \leftarrow \frac{W^T u}{\lVert W^T u\rVert} \quad (n\ \text{times}), \qquad
        \sigma = u^T W v, \qquad \hat W = W / \sigma

    for each weight, seen as the matrix W (D × rest) of its slices along a dimension. Gradients flow
    through W alone, in Ŵ and in σ; u and v are constants to them. Gradients of all orders are
    available.

    Args:
        weights: of any shapes, with at least two dimensions.
        us: estimates of the left singular vectors, (D,) each. They are updated in place; what the
            backward pass needs is copied.
        vs: those of the right ones, (rest,) each; likewise.
        n_power_iterations: steps of power iteration; with 0 nothing is updated.
        dims: for each weight the dimension that is the matrix's rows, that of a layer's outputs: 0
            of most layers, 1 of transposed convolutions. ``None`` takes 0 for all.
        eps: lower bound of the norms that are divided by, and what a σ that is smaller gives way
            to: a weight of zeros stays one.
        backend: name of the backend to run; ``None`` chooses, see :func:`adaconv.backend`.

    Returns:
        The normalised weights, in order.

    Raises:
        TypeError, ValueError: an argument does not fit; the message says what was expected.
        BackendError: the named backend cannot run this call.

    Source: Miyato et al., "Spectral Normalization for Generative Adversarial Networks", 2018,
    algorithm 1.

    Example:
        >>> weight, u, v = torch.diag(torch.tensor([4.0, 2.0])), torch.ones(2), torch.ones(2)
        >>> spectral_normalize([weight], [u], [v], 20)[0]
        tensor([[1.0000, 0.0000],
                [0.0000, 0.5000]])
    """
    dims = [0] * len(weights) if dims is None else dims
    dims = _check(weights, us, vs, n_power_iterations, dims)
    if not weights:
        return []
    chosen = _dispatch.select(backend, STEM, [*weights, *us, *vs])
    options = n_power_iterations, dims, eps
    # Autocast leaves it alone: of products in half precision, u and v would not converge.
    with _without_autocast(weights[0].device.type):
        if chosen == "reference":
            normalised, new_us, new_vs = reference.spectral_normalize(weights, us, vs, *options)
        else:
            state = torch.cat([t.detach() for pair in zip(us, vs, strict=True) for t in pair])
            normalised, state = _forward(list(weights), state, *options, chosen)
            new_us, new_vs = reference.vectors(state, weights, dims)
    if n_power_iterations > 0:
        with torch.no_grad():
            torch._foreach_copy_([*us, *vs], [*new_us, *new_vs])
    return normalised


def _without_autocast(device: str) -> contextlib.AbstractContextManager:
    if not _autocast.is_on(device):
        return contextlib.nullcontext()
    return torch.autocast(device, enabled=False)


def _check(
    weights: Sequence[Tensor],
    us: Sequence[Tensor],
    vs: Sequence[Tensor],
    n_power_iterations: int,
    dims: Sequence[int],
) -> list[int]:
    """Check the arguments; return ``dims`` counted from the front."""
    for name, given in (("us", us), ("vs", vs), ("dims", dims)):
        if len(given) != len(weights):
            raise ValueError(
                f"{name} must have as many items as weights, {len(weights)}, got {len(given)}"
            )
    if not isinstance(n_power_iterations, int) or n_power_iterations < 0:
        raise ValueError(
            f"n_power_iterations must be an integer of at least 0, got {n_power_iterations!r}"
        )
    columns = {"weights": weights, "us": us, "vs": vs}
    named = {f"{name}[{i}]": t for name, given in columns.items() for i, t in enumerate(given)}
    ranks = {name: _rank(name, tensor) for name, tensor in named.items()}
    _checks.tensors(ranks, named)
    numbered = zip(range(len(weights)), weights, us, vs, dims, strict=True)
    return [_check_one(*of_one) for of_one in numbered]


def _rank(name: str, tensor: Tensor) -> int:
    """Return how many dimensions a tensor must have: u and v 1, a weight as it has, 2 at least."""
    return max(2, tensor.dim()) if name.startswith("w") and isinstance(tensor, Tensor) else 1


def _check_one(i: int, weight: Tensor, u: Tensor, v: Tensor, dim: int) -> int:
    """Check the shapes of one weight and its vectors; return ``dim`` counted from the front."""
    rank = weight.dim()
    if not isinstance(dim, int) or not -rank <= dim < rank:
        raise ValueError(
            f"dims[{i}] must be a dimension of weights[{i}], of shape {tuple(weight.shape)}, "
            f"got {dim!r}"
        )
    if weight.numel() == 0:
        raise ValueError(f"weights[{i}] must not be empty, got shape {tuple(weight.shape)}")
    rows = weight.shape[dim]
    _checks.shape(f"us[{i}]", u, (rows,), f"size of weights[{i}] along dimension {dim}")
    _checks.shape(f"vs[{i}]", v, (weight.numel() // rows,), f"size of a slice of weights[{i}]")
    return dim % rank


@torch.library.custom_op("adaconv::spectral_normalize", mutates_args=())
def _forward(
    weights: Sequence[Tensor],
    state: Tensor,
    iterations: int,
    dims: Sequence[int],
    eps: float,
    backend: str,
) -> tuple[list[Tensor], Tensor]:
    """Return the normalised weights, and the state after the iteration with every σ behind it.

    The state is every u and v, one behind another; it comes back in float32 at least.
    """
    return _dispatch.kernels(backend, STEM).forward(weights, state, iterations, dims, eps)


@_forward.register_fake
def _(weights, state, iterations, dims, eps, backend):
    wide = torch.promote_types(state.dtype, torch.float32)
    new_state = state.new_empty(len(state) + len(weights), dtype=wide)
    return [t.new_empty(t.shape) for t in weights], new_state


@torch.library.custom_op("adaconv::spectral_normalize_backward", mutates_args=())
def _backward(
    gradients: Sequence[Tensor],
    weights: Sequence[Tensor],
    state: Tensor,
    dims: Sequence[int],
    eps: float,
    backend: str,
) -> list[Tensor]:
    """Return the gradient of every weight; ``state`` is that which the forward pass returned."""
    return _dispatch.kernels(backend, STEM).backward(gradients, weights, state, dims, eps)


@_backward.register_fake
def _(gradients, weights, state, dims, eps, backend):
    return [t.new_empty(t.shape) for t in weights]


def _save_for_backward(ctx, inputs, output):
    weights, _, _, *ctx.options = inputs
    _, state = output
    ctx.mark_non_differentiable(state)
    ctx.save_for_backward(*weights, state)


def _differentiate(ctx, gradients, _):
    *weights, state = ctx.saved_tensors
    return _backward(gradients, weights, state, *ctx.options), *(None,) * 5


_forward.register_autograd(_differentiate, setup_context=_save_for_backward)


def _save_for_double_backward(ctx, inputs, output):
    gradients, weights, state, *ctx.options, _ = inputs
    ctx.save_for_backward(*gradients, *weights, state)


def _differentiate_twice(ctx, cotangents):
    *tensors, state = ctx.saved_tensors
    count = len(cotangents)
    with torch.enable_grad():
        # New names for the same tensors: their gradients must not flow on into each other.
        names = [t.view_as(t) if t.requires_grad else t for t in tensors]
        weights, dims = names[count:], ctx.options[0]
        us, vs = reference.vectors(state.to(weights[0].dtype), weights, dims)
        first = reference.backward(names[:count], weights, us, vs, *ctx.options)
    wanted = [t for t in names if t.requires_grad]
    found = iter(
        torch.autograd.grad(
            first, wanted, cotangents, create_graph=torch.is_grad_enabled(), allow_unused=True
        )
    )
    gradients = [next(found) if t.requires_grad else None for t in names]
    return gradients[:count], gradients[count:], *(None,) * 4


_backward.register_autograd(_differentiate_twice, setup_context=_save_for_double_backward)
