"""Minibatch discrimination: schema, checks, autograd and the public function."""

import torch
import torch.distributed as dist
from torch import Tensor

from adaconv.ops import _autocast, _checks, _dispatch
from adaconv.ops._gather import gather
from adaconv.reference import minibatch_discrimination as reference

STEM = "minibatch_discrimination"


def minibatch_discrimination(
    M: Tensor,
    other: Tensor | None = None,
    *,
    exclude_self: bool = True,
    group: "dist.ProcessGroup | None" = None,
    backend: str | None = None,
) -> Tensor:
    r"""Say of each sample how many are close to it, by B measures of distance.

    .. math::
        o[i,b] = \sum_{j \ne i} \exp\Big(-\sum_c \lvert M[i,b,c] - M[j,b,c] \rvert\Big)

    in memory of O(N B C): the N² B distances are never in memory, and the backward pass forms them
    anew. Gradients of all orders are available; those beyond the first are formed by the reference,
    in chunks.

    Args:
        M: features of the samples, (N, B, C).
        other: features of a second set of samples, (J, B, C). With it the sum is over all j of
            ``other`` in the place of ``M[j]``.
        exclude_self: whether to leave out j = i, whose term is 1. Of no effect with ``other``.
        group: process group whose ranks share a batch, such as ``torch.distributed.group.WORLD``;
            j then goes over the samples of all its ranks, which must have equally many. The result
            is that of the whole batch in one process, and so are the gradients of the sum of all
            ranks' objectives. ``None`` compares within this process.
        backend: name of the backend to run; ``None`` chooses, see :func:`adaconv.backend`.

    Returns:
        o, (N, B), in the dtype of ``M``. Under autocast half precisions are widened to float32, as
        they are for PyTorch's exponentials.

    Raises:
        TypeError, ValueError: an argument does not fit, or the ranks' shapes differ; the message
            says what was expected.
        BackendError: the named backend cannot run this call.

    Source: Salimans et al., "Improved Techniques for Training GANs", 2016, section 3.2.

    Example:
        >>> M = torch.tensor([[[0.0]], [[0.0]], [[100.0]]])
        >>> minibatch_discrimination(M).flatten()
        tensor([1., 1., 0.])
    """
    _checks.tensors({"M": 3, "other": 3}, {"M": M, "other": other})
    if M.shape[2] < 1:
        raise ValueError(f"M must have C of at least 1, got shape {tuple(M.shape)}")
    if other is not None:
        expected = (len(other), *M.shape[1:])
        _checks.shape("other", other, expected, "any number of samples, B and C of M")
    if _autocast.is_on(M.device.type):
        wide = torch.promote_types(M.dtype, torch.float32)
        M, other = M.to(wide), None if other is None else other.to(wide)
    skip = 0 if exclude_self and other is None else None
    if group is not None:
        if skip is not None:
            skip = dist.get_rank(group) * len(M)
        other = gather("M", M, group) if other is None else gather("other", other, group)
    given = [M] if other is None else [M, other]
    chosen = _dispatch.select(backend, STEM, given)
    if chosen == "reference":
        return reference.minibatch_discrimination(M, other, skip)
    return _forward(M, other, skip, chosen)


@torch.library.custom_op("adaconv::minibatch_discrimination", mutates_args=())
def _forward(M: Tensor, Z: Tensor | None, skip: int | None, backend: str) -> Tensor:
    """Return o; where Z is None it is M."""
    return _dispatch.kernels(backend, STEM).forward(M, Z, skip)


@_forward.register_fake
def _(M, Z, skip, backend):
    return M.new_empty(M.shape[:2])


@torch.library.custom_op("adaconv::minibatch_discrimination_backward", mutates_args=())
def _backward(
    g: Tensor, M: Tensor, Z: Tensor | None, skip: int | None, backend: str
) -> tuple[Tensor, Tensor]:
    """Return the gradients of M and Z; that of a Z which is None is empty."""
    return _dispatch.kernels(backend, STEM).backward(g, M, Z, skip)


@_backward.register_fake
def _(g, M, Z, skip, backend):
    return M.new_empty(M.shape), M.new_empty(0 if Z is None else Z.shape)


def _save_for_backward(ctx, inputs, output):
    M, Z, ctx.skip, ctx.backend = inputs
    ctx.save_for_backward(M, Z)


def _differentiate(ctx, g):
    M, Z = ctx.saved_tensors
    gM, gZ = _backward(g, M, Z, ctx.skip, ctx.backend)
    return gM, None if Z is None else gZ, None, None


_forward.register_autograd(_differentiate, setup_context=_save_for_backward)


def _save_for_double_backward(ctx, inputs, output):
    g, M, Z, ctx.skip, _ = inputs
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(g, M, Z)


def _differentiate_twice(ctx, u, v):
    needed = ctx.needs_input_grad[:3]
    g, M, Z = ctx.saved_tensors
    return *reference.double_backward(g, M, Z, ctx.skip, (u, v), needed), None, None


_backward.register_autograd(_differentiate_twice, setup_context=_save_for_double_backward)
