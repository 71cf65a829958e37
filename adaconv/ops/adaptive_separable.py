"""Separable adaptive convolution: schema, checks, autograd and the public function."""

from collections.abc import Sequence

import torch
from torch import Tensor

from adaconv.ops import _autocast, _checks, _dispatch, adaptive_conv
from adaconv.reference import adaptive_separable as reference

STEM = "adaptive_separable"


def adaptive_separable_conv2d(
    x: Tensor,
    d: Tensor,
    P1: Tensor,
    q1: Tensor | None,
    P2: Tensor,
    q2: Tensor | None = None,
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
    r"""Convolve in two stages, depthwise and pointwise, whose weights are regressed at every pixel.

    .. math::
        u[n,c,p] &= \sum_t \mathrm{act}\Big(\sum_k P_1[c,t,k]\,d[n,k,p] + q_1[c,t]\Big)\;
            x[n,c,p+t] \\
        y[n,o,p] &= \sum_c \mathrm{act}\Big(\sum_k P_2[o,c,k]\,d[n,k,p] + q_2[o,c]\Big)\;
            u[n,c,p] + b[n,o,p]

    with ``act`` a leaky ReLU. The weights of neither stage are ever written to memory; a pixel
    needs C kh kw + O C of them where :func:`adaconv.adaptive_conv2d` needs O C kh kw. Gradients of
    all orders are available; those beyond the first are those of the two stages as
    :func:`adaconv.adaptive_conv2d` computes them, in chunks.

    Args:
        x: input, (N, C, H, W) or (C, H, W).
        d: features that the weights of both stages are regressed from, (N, D, OH, OW) or
            (D, OH, OW); OH and OW are the output size of the convolution.
        P1: regression matrix of the depthwise stage, (C, kh, kw, D).
        q1: its bias, (C, kh, kw), or ``None``.
        P2: regression matrix of the pointwise stage, (O, C / groups, D).
        q2: its bias, (O, C / groups).
        b: bias of every output pixel, (N, O, OH, OW) or (O, OH, OW).
        stride: as in :func:`torch.nn.functional.conv2d`.
        padding: likewise; a number, a pair, "valid" or "same".
        dilation: likewise.
        groups: of the pointwise stage; all share ``d``, and so does the depthwise stage.
        negative_slope: slope of ``act`` below 0; 0 is ReLU, 1 the identity.
        upsample: factor of a nearest-neighbour upsampling of ``x`` that comes before everything
            else; the enlarged picture is never in memory.
        memory: what is kept for the backward pass beside the arguments. "mask": ``u`` and the sign
            of every weight of the pointwise stage before its activation, one bit each; kept only
            where a gradient can be asked for. "recompute": nothing. The gradients are the same,
            bit for bit. The reference keeps the weights either way.
        backend: name of the backend to run; ``None`` chooses, see :func:`adaconv.backend`.

    Returns:
        y, (N, O, OH, OW) or (O, OH, OW), in the dtype of ``x``; channels_last where ``x`` is.

    Raises:
        TypeError, ValueError: an argument does not fit; the message says what was expected.
        BackendError: the named backend cannot run this call.

    Source: the depthwise-separable adaptive block that the slides of Nguyen & Ray, "Generative
    Adversarial Networks using Adaptive Convolution", 2018, propose.

    Example:
        >>> x, d = torch.randn(2, 8, 5, 5), torch.randn(2, 4, 5, 5)
        >>> P1, P2 = torch.randn(8, 3, 3, 4), torch.randn(6, 8, 4)
        >>> adaptive_separable_conv2d(x, d, P1, None, P2, padding=1).shape
        torch.Size([2, 6, 5, 5])
    """
    if isinstance(x, Tensor) and x.dim() == 3:
        y = adaptive_separable_conv2d(
            x[None], d[None], P1, q1, P2, q2, None if b is None else b[None], stride=stride,
            padding=padding, dilation=dilation, groups=groups,
            negative_slope=negative_slope, upsample=upsample, memory=memory, backend=backend,
        )  # fmt: skip
        return y[0]

    stride = _checks.pair("stride", stride, 1)
    dilation = _checks.pair("dilation", dilation, 1)
    x, d, P1, q1, P2, q2, b = _autocast.cast(x, d, P1, q1, P2, q2, b)
    _checks.choice("memory", memory, adaptive_conv.MEMORY)
    _checks.tensors(
        {"x": 4, "d": 4, "P1": 4, "q1": 3, "P2": 3, "q2": 2, "b": 4},
        {"x": x, "d": d, "P1": P1, "q1": q1, "P2": P2, "q2": q2, "b": b},
        required=("x", "d", "P1", "P2"),
    )
    # The far pads show in the output size; nothing else needs them.
    padding, far = _checks.pads(padding, (P1.shape[1], P1.shape[2]), stride, dilation)
    _check_shapes(x, d, P1, q1, P2, q2, b, stride, (padding, far), dilation, groups, upsample)

    given = [t for t in (x, d, P1, q1, P2, q2, b) if t is not None]
    chosen = _dispatch.select(backend, STEM, given)
    options = (stride, padding, dilation, groups, negative_slope, upsample)
    if chosen == "reference":
        return reference.adaptive_separable_conv2d(x, d, P1, q1, P2, q2, b, *options)
    differentiable = any(t.requires_grad for t in (x, d, P1, q1, P2, q2) if t is not None)
    save = memory == "mask" and torch.is_grad_enabled() and differentiable
    y, _, _ = _forward(x, d, P1, q1, P2, q2, b, *options, save, chosen)
    return y


def _check_shapes(
    x: Tensor,
    d: Tensor,
    P1: Tensor,
    q1: Tensor | None,
    P2: Tensor,
    q2: Tensor | None,
    b: Tensor | None,
    stride: tuple[int, int],
    pads: tuple[tuple[int, int], tuple[int, int]],
    dilation: tuple[int, int],
    groups: int,
    upsample: int,
) -> None:
    n = x.shape[0]
    channels, kh, kw, features = P1.shape
    out_channels = P2.shape[0]
    if not isinstance(groups, int) or groups < 1:
        raise ValueError(f"groups must be a positive integer, got {groups!r}")
    _checks.factor("upsample", upsample)
    for name, matrix in (("P1", P1), ("P2", P2)):
        if min(matrix.shape) < 1:
            raise ValueError(
                f"{name} must have no empty dimension, got shape {tuple(matrix.shape)}"
            )
    if x.shape[1] != channels:
        raise ValueError(f"x must have P1's channels, {channels}, got {x.shape[1]}")
    for name, count in (("P1's", channels), ("P2's", out_channels)):
        if count % groups:
            raise ValueError(f"{name} {count} channels must be a multiple of groups={groups}")
    padded = [x.shape[2 + i] * upsample + pads[0][i] + pads[1][i] for i in range(2)]
    oh, ow = _checks.output_size(padded, (kh, kw), stride, dilation)
    _checks.shape("d", d, (n, features, oh, ow), "batch, P1's features, output size")
    _checks.shape("q1", q1, (channels, kh, kw), "P1's without the features")
    mixture = (out_channels, channels // groups)
    _checks.shape("P2", P2, (*mixture, features), "outputs, P1's channels / groups, features")
    _checks.shape("q2", q2, mixture, "P2's without the features")
    _checks.shape("b", b, (n, out_channels, oh, ow), "batch, output channels, output size")


@torch.library.custom_op("adaconv::adaptive_separable_conv2d", mutates_args=())
def _forward(
    x: Tensor,
    d: Tensor,
    P1: Tensor,
    q1: Tensor | None,
    P2: Tensor,
    q2: Tensor | None,
    b: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    negative_slope: float,
    upsample: int,
    save: bool,
    backend: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return y, u and the sign bits of the pointwise weights (empty unless they are saved)."""
    return _dispatch.kernels(backend, STEM).forward(
        x, d, P1, q1, P2, q2, b, stride, padding, dilation, groups, negative_slope, upsample, save
    )


@_forward.register_fake
def _(
    x, d, P1, q1, P2, q2, b,
    stride, padding, dilation, groups, negative_slope, upsample, save, backend,
):  # fmt: skip
    return _dispatch.kernels(backend, STEM).allocate_outputs(x, d, P2, groups, save)


@torch.library.custom_op("adaconv::adaptive_separable_conv2d_backward", mutates_args=())
def _backward(
    gy: Tensor,
    x: Tensor,
    d: Tensor,
    P1: Tensor,
    q1: Tensor | None,
    P2: Tensor,
    q2: Tensor | None,
    u: Tensor,
    signs: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    negative_slope: float,
    upsample: int,
    wanted: Sequence[bool],
    backend: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of x, d, P1, q1, P2 and q2; those that are not wanted are empty."""
    return _dispatch.kernels(backend, STEM).backward(
        gy, x, d, P1, q1, P2, q2, u, signs,
        stride, padding, dilation, groups, negative_slope, upsample, wanted,
    )  # fmt: skip


@_backward.register_fake
def _(
    gy, x, d, P1, q1, P2, q2, u, signs,
    stride, padding, dilation, groups, negative_slope, upsample, wanted, backend,
):  # fmt: skip
    return _dispatch.kernels(backend, STEM).allocate_gradients(x, d, P1, P2, wanted, x.dtype)


def _save_for_backward(ctx, inputs, output):
    x, d, P1, q1, P2, q2, _, *options, _save, backend = inputs
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(*output[1:])
    ctx.save_for_backward(x, d, P1, q1, P2, q2, *output[1:])
    ctx.options, ctx.backend = options, backend


def _differentiate(ctx, gy, *_):
    gradients: list[Tensor | None] = [None] * 15
    if gy is None:
        return tuple(gradients)
    wanted = list(ctx.needs_input_grad[:6])
    if any(wanted):
        found = _backward(gy, *ctx.saved_tensors, *ctx.options, wanted, ctx.backend)
        gradients[:6] = [g if want else None for g, want in zip(found, wanted, strict=True)]
    gradients[6] = gy if ctx.needs_input_grad[6] else None
    return tuple(gradients)


_forward.register_autograd(_differentiate, setup_context=_save_for_backward)


def _save_for_double_backward(ctx, inputs, output):
    gy, x, d, P1, q1, P2, q2, _u, _signs, *options, _wanted, backend = inputs
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(gy, x, d, P1, q1, P2, q2)
    ctx.options, ctx.backend = options, backend


def _differentiate_twice(ctx, *cotangents):
    """Differentiate the gradients as those of two adaptive convolutions, one after the other."""
    needed = ctx.needs_input_grad[:7]
    again = torch.is_grad_enabled()
    with torch.enable_grad():
        # New names for the same tensors: what is found in x must not flow on through gy(x).
        given = [
            None if t is None else t.view_as(t) if again else t.detach().requires_grad_(need)
            for t, need in zip(ctx.saved_tensors, needed, strict=True)
        ]
        gradients = _gradients_of_stages(given, ctx.options, ctx.backend)
        used = [i for i, cotangent in enumerate(cotangents) if cotangent is not None]
        found = iter(
            torch.autograd.grad(
                [gradients[i] for i in used],
                [t for t, need in zip(given, needed, strict=True) if need and t is not None],
                [cotangents[i] for i in used],
                create_graph=again,
                allow_unused=True,
            )
        )
    return *(next(found) if need else None for need in needed), *(None,) * 10


def _gradients_of_stages(given, options, backend):
    """Return the gradients of x, d, P1, q1, P2 and q2, formed by differentiable operators."""
    gy, x, d, P1, q1, P2, q2 = given
    stride, padding, dilation, groups, negative_slope, upsample = options
    first = (stride, padding, dilation, len(P1), negative_slope, upsample)
    second = ([1, 1], [0, 0], [1, 1], groups, negative_slope, 1)
    filters, mixture = reference.as_grouped(P1, q1), reference.as_single_tap(P2, q2)
    u, none = adaptive_conv._forward(x, d, *filters, None, *first, False, backend)

    def gradients(g, picture, regression, options):
        wanted = [True] * 4
        return adaptive_conv._backward(g, picture, d, *regression, none, *options, wanted, backend)

    gu, gd2, gP2, gq2 = gradients(gy, u, mixture, second)
    gx, gd1, gP1, gq1 = gradients(gu, x, filters, first)
    gP1, gq1, gP2, gq2 = gP1[:, 0], gq1[:, 0], gP2[:, :, 0, 0], gq2[:, :, 0, 0]
    return gx, gd1 + gd2, gP1, gq1, gP2, gq2


_backward.register_autograd(_differentiate_twice, setup_context=_save_for_double_backward)
