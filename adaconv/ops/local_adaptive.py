"""Local adaptive convolution: schema, checks, autograd and the public function."""

from collections.abc import Sequence

import torch
from torch import Tensor

from adaconv.ops import _autocast, _checks, _dispatch, _vmap
from adaconv.ops.local_adaptive_double import double_backward
from adaconv.reference import local_adaptive as reference

STEM = "local_adaptive"


def local_adaptive_conv2d(
    x: Tensor,
    d: Tensor,
    P: Tensor,
    q: Tensor | None,
    a: Tensor,
    b: Tensor | None,
    pitch: int,
    *,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | str = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    negative_slope: float = 0.0,
    upsample: int = 1,
    backend: str | None = None,
) -> Tensor:
    r"""Convolve with weights that are regressed at the points of a grid and mixed at every pixel.

    .. math::
        w[n,o,c,t,p] &= \sum_j a[n,j,p]\;
            \mathrm{act}\Big(\sum_k P[o,c,t,k]\,d[n,k,g_j(p)] + q[o,c,t]\Big) \\
        y[n,o,p] &= \sum_{c,t} w[n,o,c,t,p]\;x[n,c,p+t] + b[n,o,p]

    with ``act`` a leaky ReLU and :math:`g_j(p)` the j-th of the J grid points nearest to p: the
    grid has a point at the centre of every cell of ``pitch`` x ``pitch`` output pixels, see
    :mod:`adaconv.reference.local_adaptive`. So ``pitch``² times fewer weights are regressed than by
    :func:`adaconv.adaptive_conv2d`, and used J times as often. It is computed as
    :math:`\sum_j a_j\,(w_{g_j} * x)`: of the grid's weights, those of some points are in memory at
    a time, a few MiB on CPUs and a few ten on GPUs, and the mixed ones never are. Gradients of all
    orders are available; those beyond the first are formed by the reference, in chunks.

    Args:
        x: input, (N, C, H, W) or (C, H, W).
        d: features that the weights are regressed from, (N, D, GH, GW) or (D, GH, GW) with
            GH = ceil(OH / pitch) and GW = ceil(OW / pitch) points, where OH and OW are the output
            size of the convolution.
        P: regression matrix, (O, C / groups, kh, kw, D).
        q: bias of the regression, (O, C / groups, kh, kw), or ``None``.
        a: interpolation filter of every output pixel, shared by all channels, (N, J, OH, OW) or
            (J, OH, OW); J is 4 or 9.
        b: bias of every output pixel, (N, O, OH, OW) or (O, OH, OW), or ``None``.
        pitch: distance of the grid's points, in output pixels.
        stride: as in :func:`torch.nn.functional.conv2d`.
        padding: likewise; a number, a pair, "valid" or "same".
        dilation: likewise.
        groups: likewise; all groups share ``d`` and ``a``.
        negative_slope: slope of ``act`` below 0; 0 is ReLU, 1 the identity.
        upsample: factor of a nearest-neighbour upsampling of ``x`` that comes before everything
            else.
        backend: name of the backend to run; ``None`` chooses, see :func:`adaconv.backend`.

    Returns:
        y, (N, O, OH, OW) or (O, OH, OW), in the dtype of ``x``; channels_last where ``x`` is.

    Raises:
        TypeError, ValueError: an argument does not fit; the message says what was expected.
        BackendError: the named backend cannot run this call.

    Source: the regression at sparse locations with a learned interpolation that the slides of
    Nguyen & Ray, "Generative Adversarial Networks using Adaptive Convolution", 2018, propose.

    Example:
        >>> x, d, a = torch.randn(2, 8, 6, 7), torch.randn(2, 5, 2, 2), torch.randn(2, 4, 6, 7)
        >>> P = torch.randn(6, 8, 3, 3, 5)
        >>> local_adaptive_conv2d(x, d, P, None, a, None, 4, padding=1).shape
        torch.Size([2, 6, 6, 7])
    """
    if isinstance(x, Tensor) and x.dim() == 3:
        y = local_adaptive_conv2d(
            x[None], d[None], P, q, a[None], None if b is None else b[None], pitch, stride=stride,
            padding=padding, dilation=dilation, groups=groups, negative_slope=negative_slope,
            upsample=upsample, backend=backend,
        )  # fmt: skip
        return y[0]

    stride = _checks.pair("stride", stride, 1)
    dilation = _checks.pair("dilation", dilation, 1)
    x, d, P, q, a, b = _autocast.cast(x, d, P, q, a, b)
    _checks.tensors(
        {"x": 4, "d": 4, "P": 5, "q": 4, "a": 4, "b": 4},
        {"x": x, "d": d, "P": P, "q": q, "a": a, "b": b},
        required=("x", "d", "P", "a"),
    )
    # The far pads show in the output size; nothing else needs them.
    padding, far = _checks.pads(padding, (P.shape[2], P.shape[3]), stride, dilation)
    _check_shapes(x, d, P, q, a, b, pitch, stride, (padding, far), dilation, groups, upsample)

    chosen = _dispatch.select(backend, STEM, [t for t in (x, d, P, q, a, b) if t is not None])
    options = (pitch, stride, padding, dilation, groups, negative_slope, upsample)
    if chosen == "reference":
        return reference.local_adaptive_conv2d(x, d, P, q, a, b, *options)
    return _forward(x, d, P, q, a, b, *options, chosen)


def _check_shapes(
    x: Tensor,
    d: Tensor,
    P: Tensor,
    q: Tensor | None,
    a: Tensor,
    b: Tensor | None,
    pitch: int,
    stride: tuple[int, int],
    pads: tuple[tuple[int, int], tuple[int, int]],
    dilation: tuple[int, int],
    groups: int,
    upsample: int,
) -> None:
    n, c = x.shape[:2]
    out_channels, group_channels, kh, kw, features = P.shape
    _checks.factor("pitch", pitch)
    _checks.factor("groups", groups)
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
    if a.shape[1] not in reference.SIDES:
        raise ValueError(f"a must have 4 or 9 neighbours, got shape {tuple(a.shape)}")
    padded = [x.shape[2 + i] * upsample + pads[0][i] + pads[1][i] for i in range(2)]
    oh, ow = _checks.output_size(padded, (kh, kw), stride, dilation)
    grid = reference.points(oh, pitch), reference.points(ow, pitch)
    _checks.shape("d", d, (n, features, *grid), "batch, P's features, points of the grid")
    _checks.shape("q", q, (out_channels, group_channels, kh, kw), "P's without the features")
    _checks.shape("a", a, (n, a.shape[1], oh, ow), "batch, neighbours, output size")
    _checks.shape("b", b, (n, out_channels, oh, ow), "batch, output channels, output size")


@torch.library.custom_op("adaconv::local_adaptive_conv2d", mutates_args=())
def _forward(
    x: Tensor,
    d: Tensor,
    P: Tensor,
    q: Tensor | None,
    a: Tensor,
    b: Tensor | None,
    pitch: int,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    negative_slope: float,
    upsample: int,
    backend: str,
) -> Tensor:
    """Return y."""
    return _dispatch.kernels(backend, STEM).forward(
        x, d, P, q, a, b, pitch, stride, padding, dilation, groups, negative_slope, upsample
    )


@_forward.register_fake
def _(
    x, d, P, q, a, b, pitch, stride, padding, dilation, groups, negative_slope, upsample, backend
):
    return _dispatch.kernels(backend, STEM).allocate_output(x, P, a)


@torch.library.custom_op("adaconv::local_adaptive_conv2d_backward", mutates_args=())
def _backward(
    gy: Tensor,
    x: Tensor,
    d: Tensor,
    P: Tensor,
    q: Tensor | None,
    a: Tensor,
    pitch: int,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    negative_slope: float,
    upsample: int,
    wanted: Sequence[bool],
    backend: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of x, d, P, q and a; those that are not wanted are empty."""
    return _dispatch.kernels(backend, STEM).backward(
        gy, x, d, P, q, a,
        pitch, stride, padding, dilation, groups, negative_slope, upsample, wanted,
    )  # fmt: skip


@_backward.register_fake
def _(
    gy, x, d, P, q, a,
    pitch, stride, padding, dilation, groups, negative_slope, upsample, wanted, backend,
):  # fmt: skip
    return _dispatch.kernels(backend, STEM).allocate_gradients(x, d, P, a, wanted)


def _save_for_backward(ctx, inputs, output):
    x, d, P, q, a, _, *options, backend = inputs
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(x, d, P, q, a)
    ctx.options, ctx.backend = options, backend


def _differentiate(ctx, gy):
    gradients: list[Tensor | None] = [None] * 14
    if gy is None:
        return tuple(gradients)
    wanted = list(ctx.needs_input_grad[:5])
    if any(wanted):
        found = _backward(gy, *ctx.saved_tensors, *ctx.options, wanted, ctx.backend)
        gradients[:5] = [g if want else None for g, want in zip(found, wanted, strict=True)]
    gradients[5] = gy if ctx.needs_input_grad[5] else None
    return tuple(gradients)


_forward.register_autograd(_differentiate, setup_context=_save_for_backward)


def _save_for_double_backward(ctx, inputs, output):
    gy, x, d, P, q, a, *options, _wanted, _backend = inputs
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(gy, x, d, P, q, a)
    ctx.options = options


def _differentiate_twice(ctx, *cotangents):
    with _autocast.off(ctx.saved_tensors[0].device.type):
        gradients = double_backward(
            ctx.saved_tensors, cotangents, ctx.needs_input_grad[:6], *ctx.options
        )
    return *gradients, *(None,) * 9


_backward.register_autograd(_differentiate_twice, setup_context=_save_for_double_backward)
_vmap.register(_forward, _backward)
