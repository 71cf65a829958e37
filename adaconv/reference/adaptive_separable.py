"""Reference of separable adaptive convolution."""

from torch import Tensor

from adaconv.reference.adaptive_conv import adaptive_conv2d


def adaptive_separable_conv2d(
    x: Tensor,
    d: Tensor,
    P1: Tensor,
    q1: Tensor | None,
    P2: Tensor,
    q2: Tensor | None,
    b: Tensor | None,
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
    negative_slope: float,
    upsample: int,
) -> Tensor:
    """Convolve every channel with a filter of its own, then mix the channels, at every pixel.

    ``u[n,c,p] = Σ_t act(P1[c,t,:]·d[n,:,p] + q1[c,t])·x[n,c,p+t]`` and
    ``y[n,o,p] = Σ_c act(P2[o,c,:]·d[n,:,p] + q2[o,c])·u[n,c,p] + b[n,o,p]``, with x enlarged
    ``upsample`` times: a grouped adaptive convolution and one with a kernel of a single tap.
    Arguments as in :func:`adaconv.adaptive_separable_conv2d`, checked there.
    """
    u = adaptive_conv2d(
        x, d, *as_grouped(P1, q1), None,
        stride, padding, dilation, len(P1), negative_slope, upsample,
    )  # fmt: skip
    return adaptive_conv2d(
        u, d, *as_single_tap(P2, q2), b, (1, 1), (0, 0), (1, 1), groups, negative_slope, 1
    )


def as_grouped(P1: Tensor, q1: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Return the first stage's regression as that of C groups, (C, 1, kh, kw, D)."""
    return P1.unsqueeze(1), None if q1 is None else q1.unsqueeze(1)


def as_single_tap(P2: Tensor, q2: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Return the second stage's regression as that of a 1x1 kernel, (O, C / groups, 1, 1, D)."""
    return P2[:, :, None, None], None if q2 is None else q2[:, :, None, None]
