"""Local adaptive convolution on GPUs: allocation and launches of the Triton kernels.

The grid's weights are regressed into memory, chunk by chunk, and each point's are multiplied by the
pixels around it. Regressing them inside that product would save writing and reading 1 / pitch² of
what adaptive convolution computes with, a few ten MB at the size of AdaGAN's layers that mostly
stay in the second cache; but a point has too few pixels to regress its weights for, and tiles of
points would read P once for every tile of pixels. A product for each point reads its weights once;
one for each set of pixels with the same neighbours, J times, for tiles of ``pitch``² rows.
"""

import functools
import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from adaconv_kernels import _device, _products
from adaconv_kernels import local_adaptive_kernels as kernels
from adaconv_kernels._device import cdiv, power_of_2
from adaconv_kernels._local_adaptive_chunk import Chunk
from adaconv_kernels.adaptive_conv import as_picture, as_rows

#: Bytes that what belongs to some points may take: their weights for some outputs, and sums over
#: them for the pixels around.
CHUNK_BYTES = 96 << 20

#: A chunk has fewer points than these only where one output for each takes too much; else it has
#: fewer outputs, so that the regression matrix is not read again for a few points.
LEAST_POINTS, MOST_POINTS = 128, 1 << 20

Gradients = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


def allocate_output(x: Tensor, P: Tensor, a: Tensor) -> Tensor:
    """Return an uninitialised y, channels_last where x is."""
    last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    layout = torch.channels_last if last else torch.contiguous_format
    shape = (a.shape[0], P.shape[0], *a.shape[2:])
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=layout)


def allocate_gradients(
    x: Tensor, d: Tensor, P: Tensor, a: Tensor, wanted: Sequence[bool]
) -> Gradients:
    """Return uninitialised gradients of all but b; those that are not wanted are empty."""

    def like(tensor: Tensor, want: bool) -> Tensor:
        return torch.empty_like(tensor) if want else tensor.new_empty(0)

    gP = P.new_empty(P.shape if wanted[2] else 0)
    gq = P.new_empty(P.shape[:4] if wanted[3] else 0)
    return like(x, wanted[0]), like(d, wanted[1]), gP, gq, like(a, wanted[4])


def forward(
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
) -> Tensor:
    """Compute y."""
    y = allocate_output(x, P, a)
    if y.numel() == 0:
        return y
    with _device.guard(x):
        options = pitch, stride, padding, dilation, groups, negative_slope, upsample
        call = Call(x, d, P, q, a, options)
        total = x.new_zeros((y.numel() // len(P), len(P)), dtype=torch.float32)
        if b is not None:
            as_picture(total, y).copy_(b)
        for chunk in call.chunks(call.slots * 4):
            chunk.regress()
            chunk.mix(chunk.products(None), total)
        return y.copy_(as_picture(total, y))


def backward(
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
) -> Gradients:
    """Compute the gradients of all arguments but b, those that are wanted."""
    gradients = allocate_gradients(x, d, P, a, wanted)
    if gy.numel() == 0:
        for gradient in gradients:
            gradient.zero_()
        return gradients
    with _device.guard(x):
        options = pitch, stride, padding, dilation, groups, negative_slope, upsample
        call = Call(x, d, P, q, a, options, gy)
        shapes = (
            (*x.shape[:1], *x.shape[2:], x.shape[1]), (d.numel() // d.shape[1], d.shape[1]),
            P.shape, P.shape[:4], (*a.shape[:1], *a.shape[2:], a.shape[1]),
        )  # fmt: skip
        totals = [
            x.new_zeros(shape if want else 0, dtype=torch.float32)
            for shape, want in zip(shapes, wanted, strict=True)
        ]
        gx, gd, gP, gq, ga = totals
        share = call.slots * call.weight_bytes
        for chunk in call.chunks(share, call.inputs * call.channels * 4 * wanted[0]):
            chunk.regress()
            if wanted[4]:
                chunk.filters(chunk.products(call.gy), ga)
            if not any(wanted[:4]):
                continue
            u = chunk.shares()
            if wanted[0]:
                chunk.gather(u, gx)
            if any(wanted[1:4]):
                chunk.differentiate(u)
                if wanted[1]:
                    gd[chunk.points] += chunk.features()
                if wanted[2] or wanted[3]:
                    for total, found in zip((gP, gq), chunk.matrix(), strict=True):
                        if total.numel():
                            total[chunk.outputs] += found.view_as(total[chunk.outputs])
        for place, like in ((0, x), (1, d), (4, a)):
            if wanted[place]:
                totals[place] = as_picture(totals[place], like)
        for gradient, total, want in zip(gradients, totals, wanted, strict=True):
            if want:
                gradient.copy_(total)
        return gradients


@functools.cache
def _extent(size: int, pitch: int, side: int, shift: int) -> int:
    """Return how many pixels a point has as neighbours in one direction, at most."""
    starts = ((point - side + 2) * pitch - shift for point in range(cdiv(size, pitch)))
    return max(min(start + side * pitch, size) - max(start, 0) for start in starts)


class Call:
    """One call's arguments in the form that the kernels read them."""

    def __init__(
        self,
        x: Tensor,
        d: Tensor,
        P: Tensor,
        q: Tensor | None,
        a: Tensor,
        options: tuple,
        gy: Tensor | None = None,
    ):
        self.pitch, self.stride, padding, dilation, self.groups, self.slope, upsample = options
        self.side = math.isqrt(a.shape[1])
        self.shift = self.pitch - self.pitch // 2 if self.side == 2 else 0
        self.outputs, self.depth, *kernel, self.D = P.shape
        self.taps, self.channels = kernel[0] * kernel[1], x.shape[1]
        extents = [_extent(size, self.pitch, self.side, self.shift) for size in a.shape[2:]]
        self.picture = (*x.shape[2:], *a.shape[2:], *d.shape[2:], *extents)
        self.geometry = (
            kernel[1], *self.stride, *padding, *dilation, upsample, kernel[0],
            self.pitch, self.side, self.shift,
        )  # fmt: skip
        self.slots = math.prod(extents)
        self.spans = [(k - 1) * step for k, step in zip(kernel, dilation, strict=True)]
        self.inputs = math.prod(
            (extent - 1) * step + span + 1
            for extent, step, span in zip(extents, self.stride, self.spans, strict=True)
        )
        self.scales = None
        if _products.is_split(x.dtype):
            self.scales = self._scales(x, d, P, q, a, gy)
        self.x, self.d, self.P = (
            _products.factor(matrix, None if self.scales is None else self.scales[i])
            for matrix, i in ((as_rows(x), 2), (as_rows(d), 0), (P.contiguous(), 1))
        )
        self.q = None if q is None else q.contiguous()
        self.a, self.gy = a, None if gy is None else as_rows(gy)
        self.points = self.d.shape[1]
        # Of the whole call: what its chunks have of it depends on the batch.
        sizes = self.D, self.outputs // self.groups, self.depth * self.taps, self.slots
        self.bucket = x.dtype, len(self.P), *(min(power_of_2(size), 128) for size in sizes)
        self.weight_bytes = len(self.P) * self.P.element_size()

    def _scales(self, x, d, P, q, a, gy) -> Tensor:
        given = [d, P, x, *(() if gy is None else (gy, a)), *(() if q is None else (q,))]
        largest = torch.stack(torch._foreach_norm(given, float("inf")))
        scales = largest.new_empty(6)
        _device.launch(
            kernels.scale_kernel, (1, 1, 1), largest, scales, self.D, self.slots,
            BACKWARD=gy is not None, HAS_Q=q is not None, STEEP=max(1.0, abs(self.slope)),
            LARGEST=_products.LARGEST, J=self.side**2,
        )  # fmt: skip
        return scales

    def chunks(self, a_pair: int, a_point: int = 0) -> Iterator[Chunk]:
        """Yield the chunks: points, and outputs of a part of a group or of several groups.

        Args:
            a_pair: bytes for a point and an output, beside the weights.
            a_point: bytes for a point.
        """
        a_pair += self.depth * self.taps * self.weight_bytes
        most = max(1, CHUNK_BYTES // (a_pair + a_point))
        points = max(CHUNK_BYTES // (a_pair * self.outputs + a_point), min(LEAST_POINTS, most))
        points = min(points, MOST_POINTS, self.points)
        outputs = max(1, (CHUNK_BYTES // points - a_point) // a_pair)
        of_group = self.outputs // self.groups
        if outputs >= of_group:
            runs = range(0, self.outputs, outputs // of_group * of_group)
            limits = [(o, min(o + runs.step, self.outputs)) for o in runs]
        else:
            limits = [
                (o, min(o + outputs, group + of_group))
                for group in range(0, self.outputs, of_group)
                for o in range(group, group + of_group, outputs)
            ]
        for o, end in limits:
            for start in range(0, self.points, points):
                yield Chunk(self, slice(start, min(start + points, self.points)), slice(o, end))
