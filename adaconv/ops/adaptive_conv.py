"""Adaptive convolution: schema, checks, autograd and the public function."""

from collections.abc import Sequence

import torch
from torch import Tensor

from adaconv.ops import _autocast, _checks, _dispatch, _vmap
from adaconv.ops.adaptive_conv_double import Values, tangent_gradients
from adaconv.reference import adaptive_conv as reference

STEM = "adaptive_conv"
MEMORY = ("mask", "recompute")


def adaptive_conv2d(
    x: Tensor,
    d: Tensor,
    P: Tensor,
    q: Tensor | None = None,
    b: Tensor | None = None,
    *,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | str = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    negative_slope: float = 0.0,
    upsample: int = 1,
    memory: str = "mask",
    backend: str | None = None,
) -> Tensor:
    r"""Convolve with weights that are regressed at every pixel.

    .. math::
        w[n,o,c,t,p] &= \mathrm{act}\Big(\sum_k P[o,c,t,k]\,d[n,k,p] + q[o,c,t]\Big) \\
        y[n,o,p] &= \sum_{c,t} w[n,o,c,t,p]\;x[n,c,p+t] + b[n,o,p]

    with ``act`` a leaky ReLU. The weights ``w`` are never written to memory. Gradients of all
    orders are available, in bounded memory up to the second.

    Args:
        x: input, (N, C, H, W) or (C, H, W).
        d: features that the weights are regressed from, (N, D, OH, OW) or (D, OH, OW); OH and OW
            are the output size of the convolution.
        P: regression matrix, (O, C / groups, kh, kw, D).
        q: bias of the regression, (O, C / groups, kh, kw).
        b: bias of every output pixel, (N, O, OH, OW) or (O, OH, OW).
        stride: as in :func:`torch.nn.functional.conv2d`.
        padding: likewise; a number, a pair, "valid" or "same".
        dilation: likewise.
        groups: likewise; all groups share ``d``.
        negative_slope: slope of ``act`` below 0; 0 is ReLU, 1 the identity.
        upsample: factor of a nearest-neighbour upsampling of ``x`` that comes before everything
            else; the enlarged picture is never in memory.
        memory: what is kept for the backward pass beside the arguments. "mask": the sign of every
            weight before its activation, one bit each, 1/32 of the weights in float32; kept only
            where a gradient can be asked for. "recompute": nothing; the backward pass regresses
            the weights anew, a few MiB of bits at a time, and takes 4 matrix products' time for
            forward and backward instead of 3. Nothing switches from one to the other by itself;
            the gradients are the same, bit for bit. The reference keeps the weights either way.
        backend: name of the backend to run; ``None`` chooses, see :func:`adaconv.backend`.

    Returns:
        y, (N, O, OH, OW) or (O, OH, OW), in the dtype of ``x``; channels_last where ``x`` is.

    Raises:
        TypeError, ValueError: an argument does not fit; the message says what was expected.
        BackendError: the named backend cannot run this call.

    Source: Nguyen & Ray, "Generative Adversarial Networks using Adaptive Convolution", 2018,
    equation 5.

    Example:
        >>> x, d = torch.randn(2, 8, 5, 5), torch.randn(2, 4, 5, 5)
        >>> P = torch.randn(6, 8, 3, 3, 4)
        >>> adaptive_conv2d(x, d, P, padding=1).shape
        torch.Size([2, 6, 5, 5])
    """
    if isinstance(x, Tensor) and x.dim() == 3:
        y = adaptive_conv2d(
            x[None], d[None], P, q, None if b is None else b[None], stride=stride, padding=padding,
            dilation=dilation, groups=groups, negative_slope=negative_slope, upsample=upsample,
            memory=memory, backend=backend,
        )  # fmt: skip
        return y[0]

    stride = _checks.pair("stride", stride, 1)
    dilation = _checks.pair("dilation", dilation, 1)
    x, d, P, q, b = _autocast.cast(x, d, P, q, b)
    _checks.choice("memory", memory, MEMORY)
    _checks.tensors(
        {"x": 4, "d": 4, "P": 5, "q": 4, "b": 4},
        {"x": x, "d": d, "P": P, "q": q, "b": b},
        required=("x", "d", "P"),
    )
    # The far pads show in the output size; nothing else needs them.
    padding, far = _checks.pads(padding, (P.shape[2], P.shape[3]), stride, dilation)
    _check_shapes(x, d, P, q, b, stride, (padding, far), dilation, groups, upsample)

    given = [t for t in (x, d, P, q, b) if t is not None]
    chosen = _dispatch.select(backend, STEM, given)
    if chosen == "reference":
        return reference.adaptive_conv2d(
            x, d, P, q, b, stride, padding, dilation, groups, negative_slope, upsample
        )
    differentiable = any(t.requires_grad for t in (x, d, P, q) if t is not None)
    save_signs = memory == "mask" and torch.is_grad_enabled() and differentiable
    options = (stride, padding, dilation, groups, negative_slope, upsample)
    y, _ = _forward(x, d, P, q, b, *options, save_signs, chosen)
    return y


def _check_shapes(
    x: Tensor,
    d: Tensor,
    P: Tensor,
    q: Tensor | None,
    b: Tensor | None,
    stride: tuple[int, int],
    pads: tuple[tuple[int, int], tuple[int, int]],
    dilation: tuple[int, int],
    groups: int,
    upsample: int,
) -> None:
    n, c = x.shape[:2]
    out_channels, group_channels, kh, kw, features = P.shape
    if not isinstance(groups, int) or groups < 1:
        raise ValueError(f"groups must be a positive integer, got {groups!r}")
    _checks.factor("upsample", upsample)
    if min(P.shape) < 1:
        raise ValueError(f"P must have no empty dimension, got shape {tuple(P.shape)}")
    if c != group_channels * groups:
        raise ValueError(
            f"x must have P's input channels times groups, {group_channels} * {groups}, "
            f"channels, got {c}"
        )
    if out_channels % groups:
        raise ValueError(
            f"P's {out_channels} output channels must be a multiple of groups={groups}"
        )
    padded = [x.shape[2 + i] * upsample + pads[0][i] + pads[1][i] for i in range(2)]
    oh, ow = _checks.output_size(padded, (kh, kw), stride, dilation)
    _checks.shape("d", d, (n, features, oh, ow), "batch, P's features, output size")
    _checks.shape("q", q, (out_channels, group_channels, kh, kw), "P's without the features")
    _checks.shape("b", b, (n, out_channels, oh, ow), "batch, output channels, output size")


@torch.library.custom_op("adaconv::adaptive_conv2d", mutates_args=())
def _forward(
    x: Tensor,
    d: Tensor,
    P: Tensor,
    q: Tensor | None,
    b: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    negative_slope: float,
    upsample: int,
    save_signs: bool,
    backend: str,
) -> tuple[Tensor, Tensor]:
    """Return y and the sign bits of the regressed weights (empty unless they are to be saved)."""
    return _dispatch.kernels(backend, STEM).forward(
        x, d, P, q, b, stride, padding, dilation, groups, negative_slope, upsample, save_signs
    )


@_forward.register_fake
def _(
    x, d, P, q, b, stride, padding, dilation, groups, negative_slope, upsample, save_signs, backend
):
    return _dispatch.kernels(backend, STEM).allocate_outputs(x, d, P, groups, save_signs)


@torch.library.custom_op("adaconv::adaptive_conv2d_backward", mutates_args=())
def _backward(
    gy: Tensor,
    x: Tensor,
    d: Tensor,
    P: Tensor,
    q: Tensor | None,
    signs: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    negative_slope: float,
    upsample: int,
    wanted: Sequence[bool],
    backend: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of x, d, P and q; those that are not wanted are empty."""
    return _dispatch.kernels(backend, STEM).backward(
        gy, x, d, P, q, signs, stride, padding, dilation, groups, negative_slope, upsample, wanted
    )


@_backward.register_fake
def _(
    gy,
    x,
    d,
    P,
    q,
    signs,
    stride,
    padding,
    dilation,
    groups,
    negative_slope,
    upsample,
    wanted,
    backend,
):
    return _dispatch.kernels(backend, STEM).allocate_gradients(x, d, P, wanted, x.dtype)


def _save_for_backward(ctx, inputs, output):
    x, d, P, q, _, *options, _save_signs, backend = inputs
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(x, d, P, q, output[1])
    ctx.options, ctx.backend = options, backend


def _differentiate(ctx, gy, _):
    if gy is None:
        return (None,) * 13
    x, d, P, q, signs = ctx.saved_tensors
    wanted = list(ctx.needs_input_grad[:4])
    gradients: list[Tensor | None] = [None] * 4
    if any(wanted):
        found = _backward(gy, x, d, P, q, signs, *ctx.options, wanted, ctx.backend)
        gradients = [g if want else None for g, want in zip(found, wanted, strict=True)]
    return *gradients, gy if ctx.needs_input_grad[4] else None, *(None,) * 8


_forward.register_autograd(_differentiate, setup_context=_save_for_backward)


def _save_for_double_backward(ctx, inputs, output):
    gy, x, d, P, q, signs, *options, _wanted, backend = inputs
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(gy, x, d, P, q, signs)
    ctx.options, ctx.backend = options, backend


def _differentiate_twice(ctx, u, v, V, r):
    """Differentiate the sum of the gradients' products with their cotangents u, v, V and r.

    With ``A`` the dynamic convolution, ``w`` the weights and m the slope of their activation it is
    ``⟨gy, A(u, w)⟩ + ⟨gy, A(x, m·(P·v + V·d + r))⟩``: the operator itself, of u in the place of x,
    whose gradients its kernels form, and a term that is formed in chunks.
    """
    gy, x, d, P, q, signs = ctx.saved_tensors
    needed, call = ctx.needs_input_grad[:5], (*ctx.options, ctx.backend)
    gradients: list[Tensor | None] = [None] * 5
    if u is not None:
        if needed[0]:
            gradients[0], _ = _forward(u, d, P, q, None, *ctx.options, False, ctx.backend)
        if any(needed[2:]):
            wanted = [False, *needed[2:]]
            found = _backward(gy, u, d, P, q, signs, *ctx.options, wanted, ctx.backend)
            gradients[2:] = [g if need else None for g, need in zip(found, wanted, strict=True)][1:]
    if any(t is not None for t in (v, V, r)):
        with _autocast.off(gy.device.type):
            more = tangent_gradients(Values(gy, x, d, P, q, v, V, r), needed, *call)
        gradients[:4] = [_sum(*pair) for pair in zip(gradients[:4], more, strict=True)]
    return *gradients, *(None,) * 9


def _sum(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    """Return the sum of those that there are."""
    return b if a is None else a if b is None else a + b


_backward.register_autograd(_differentiate_twice, setup_context=_save_for_double_backward)
_vmap.register(_forward, _backward)
