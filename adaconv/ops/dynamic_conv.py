"""Dynamic convolution: schema, checks, autograd and the public function.

``A(x, w)``, the convolution without its bias, is linear in both arguments. So are its adjoints: the
gradients ``Bx(g, w)`` in x and ``Bw(g, x)`` in w. With ``⟨g, A(x, w)⟩ = ⟨Bx(g, w), x⟩ =
⟨Bw(g, x), w⟩`` every derivative of one of the three is another of them. Each is an operator whose
backward pass calls the other two, which makes gradients of every order.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from adaconv.ops import _autocast, _checks, _dispatch
from adaconv.reference import dynamic_conv as reference

STEM = "dynamic_conv"


def dynamic_conv2d(
    x: Tensor,
    w: Tensor,
    b: Tensor | None = None,
    *,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | str = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    backend: str | None = None,
) -> Tensor:
    r"""Convolve with weights that are given for every pixel.

    .. math::
        y[n,o,p] = \sum_{c,t} w[n,s,c,t,p]\;x[n,c,p+t] + b[n,o,p]

    where c runs over the C / groups channels of o's group, and s is o's filter:

    - S filters, a multiple of ``groups``: there are O = S outputs, s = o. ``groups=C`` is the
      depthwise convolution.
    - S filters, a divisor of ``groups``: there are O = groups outputs, and each filter serves
      groups / S neighbouring groups. With ``groups=C``, one filter (S = 1) for all channels is a
      kernel-prediction network's, S of them are an involution's.

    Every weight is read once, and nothing of its size is written; the input is never unfolded.
    Gradients of all orders are available, each at the price of a convolution.

    Args:
        x: input, (N, C, H, W) or (C, H, W).
        w: weights, (N, S, C / groups, kh, kw, OH, OW), or without N where ``x`` has none; OH and OW
            are the output size of the convolution. Any strides; the kernels are fastest where the
            pixels of one weight are contiguous, as in the layout above.
        b: bias of every output pixel, (N, O, OH, OW) or (O, OH, OW).
        stride: as in :func:`torch.nn.functional.conv2d`.
        padding: likewise; a number, a pair, "valid" or "same".
        dilation: likewise.
        groups: likewise.
        backend: name of the backend to run; ``None`` chooses, see :func:`adaconv.backend`.

    Returns:
        y, (N, O, OH, OW) or (O, OH, OW), in the dtype of ``x``; channels_last where ``x`` is.

    Raises:
        TypeError, ValueError: an argument does not fit; the message says what was expected.
        BackendError: the named backend cannot run this call.

    Source: Jia et al., "Dynamic Filter Networks", 2016, the dynamic local filtering layer; shared
    filters: Bako et al., "Kernel-Predicting Convolutional Networks", 2017, and Li et al.,
    "Involution", 2021.

    Example:
        >>> x, w = torch.randn(2, 8, 5, 5), torch.randn(2, 6, 8, 3, 3, 5, 5)
        >>> dynamic_conv2d(x, w, padding=1).shape
        torch.Size([2, 6, 5, 5])
        >>> w = torch.randn(2, 1, 1, 3, 3, 5, 5)  # one filter for all channels
        >>> dynamic_conv2d(x, w, padding=1, groups=8).shape
        torch.Size([2, 8, 5, 5])
    """
    if isinstance(x, Tensor) and x.dim() == 3:
        y = dynamic_conv2d(
            x[None], w[None], None if b is None else b[None], stride=stride, padding=padding,
            dilation=dilation, groups=groups, backend=backend,
        )  # fmt: skip
        return y[0]

    stride = _checks.pair("stride", stride, 1)
    dilation = _checks.pair("dilation", dilation, 1)
    x, w, b = _autocast.cast(x, w, b)
    _checks.tensors({"x": 4, "w": 7, "b": 4}, {"x": x, "w": w, "b": b})
    # The far pads show in the output size; nothing else needs them.
    padding, far = _checks.pads(padding, (w.shape[3], w.shape[4]), stride, dilation)
    _check_shapes(x, w, b, stride, (padding, far), dilation, groups)

    chosen = _dispatch.select(backend, STEM, [t for t in (x, w, b) if t is not None])
    options = (stride, padding, dilation, groups)
    if chosen == "reference":
        return reference.dynamic_conv2d(x, w, b, *options)
    return _forward(x, w, b, *options, chosen)


def _check_shapes(
    x: Tensor,
    w: Tensor,
    b: Tensor | None,
    stride: tuple[int, int],
    pads: tuple[tuple[int, int], tuple[int, int]],
    dilation: tuple[int, int],
    groups: int,
) -> None:
    n, c = x.shape[:2]
    _, filters, group_channels, kh, kw = w.shape[:5]
    _checks.factor("groups", groups)
    if min(w.shape[1:5]) < 1:
        raise ValueError(f"w must have no empty dimension of a filter, got shape {tuple(w.shape)}")
    if c != group_channels * groups:
        raise ValueError(
            f"x must have w's input channels times groups, {group_channels} * {groups}, "
            f"channels, got {c}"
        )
    if filters % groups and groups % filters:
        raise ValueError(
            f"w's {filters} filters must be a multiple or a divisor of groups={groups}"
        )
    padded = [x.shape[2 + i] + pads[0][i] + pads[1][i] for i in range(2)]
    oh, ow = _checks.output_size(padded, (kh, kw), stride, dilation)
    expected = (n, filters, group_channels, kh, kw, oh, ow)
    _checks.shape("w", w, expected, "batch, a filter of every output pixel")
    outputs = max(filters, groups)
    _checks.shape("b", b, (n, outputs, oh, ow), "batch, output channels, output size")


@torch.library.custom_op("adaconv::dynamic_conv2d", mutates_args=())
def _forward(
    x: Tensor,
    w: Tensor,
    b: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    backend: str,
) -> Tensor:
    """Return ``A(x, w) + b``."""
    return _dispatch.kernels(backend, STEM).forward(x, w, b, stride, padding, dilation, groups)


@_forward.register_fake
def _(x, w, b, stride, padding, dilation, groups, backend):
    return _dispatch.kernels(backend, STEM).allocate_output(x, w, groups)


@torch.library.custom_op("adaconv::dynamic_conv2d_input", mutates_args=())
def _input(
    g: Tensor,
    w: Tensor,
    size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    backend: str,
) -> Tensor:
    """Return ``Bx(g, w)``, the gradient of an x of that height and width."""
    return _dispatch.kernels(backend, STEM).input_gradient(
        g, w, size, stride, padding, dilation, groups
    )


@_input.register_fake
def _(g, w, size, stride, padding, dilation, groups, backend):
    return _dispatch.kernels(backend, STEM).allocate_input(g, w, size, groups)


@torch.library.custom_op("adaconv::dynamic_conv2d_weight", mutates_args=())
def _weight(
    g: Tensor,
    x: Tensor,
    filters: int,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    backend: str,
) -> Tensor:
    """Return ``Bw(g, x)``, the gradient of a w of so many filters of that size."""
    return _dispatch.kernels(backend, STEM).weight_gradient(
        g, x, filters, kernel_size, stride, padding, dilation, groups
    )


@_weight.register_fake
def _(g, x, filters, kernel_size, stride, padding, dilation, groups, backend):
    return _dispatch.kernels(backend, STEM).allocate_weight(g, x, filters, kernel_size, groups)


def _save_forward(ctx, inputs, output):
    x, w, _, *ctx.options = inputs
    ctx.save_for_backward(x, w)


def _save_input(ctx, inputs, output):
    g, w, _, *ctx.options = inputs
    ctx.save_for_backward(g, w)


def _save_weight(ctx, inputs, output):
    g, x, _, _, *ctx.options = inputs
    ctx.save_for_backward(g, x)


def _differentiate_forward(ctx, gy):
    x, w = ctx.saved_tensors
    options, needed = ctx.options, ctx.needs_input_grad
    gx = _input(gy, w, x.shape[2:], *options) if needed[0] else None
    gw = _weight(gy, x, w.shape[1], w.shape[3:5], *options) if needed[1] else None
    return gx, gw, gy if needed[2] else None, *(None,) * len(options)


def _differentiate_input(ctx, u):
    g, w = ctx.saved_tensors
    options, needed = ctx.options, ctx.needs_input_grad
    gg = _forward(u, w, None, *options) if needed[0] else None
    gw = _weight(g, u, w.shape[1], w.shape[3:5], *options) if needed[1] else None
    return gg, gw, None, *(None,) * len(options)


def _differentiate_weight(ctx, v):
    g, x = ctx.saved_tensors
    options, needed = ctx.options, ctx.needs_input_grad
    gg = _forward(x, v, None, *options) if needed[0] else None
    gx = _input(g, v, x.shape[2:], *options) if needed[1] else None
    return gg, gx, None, None, *(None,) * len(options)


_forward.register_autograd(_differentiate_forward, setup_context=_save_forward)
_input.register_autograd(_differentiate_input, setup_context=_save_input)
_weight.register_autograd(_differentiate_weight, setup_context=_save_weight)


def _batched(operator: Callable[..., Tensor]) -> Callable[..., tuple[Tensor, int]]:
    """Return the rule for :func:`torch.vmap`: all tensors have a batch, so one more joins it."""

    def rule(info, in_dims, *arguments):
        def fold(argument, dim):
            if not isinstance(argument, Tensor):
                return argument
            if dim is None:
                whole = argument.expand(info.batch_size, *argument.shape)
            else:
                whole = argument.movedim(dim, 0)
            return whole.flatten(0, 1)

        result = operator(*map(fold, arguments, in_dims))
        return result.unflatten(0, (info.batch_size, -1)), 0

    return rule


for _operator in (_forward, _input, _weight):
    _operator.register_vmap(_batched(_operator))
