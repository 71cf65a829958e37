"""Local adaptive convolution: values, derivatives, threads, NaN and the schema."""

import pytest
import torch
import torch.nn.functional as F
from conv_contract import gradient_of, normal
from local_adaptive_cases import Case, results

from adaconv import adaptive_conv2d

LAYER = Case(2, 32, 16, (16, 16), (3, 3), 32, options={"padding": 1})


def nearest_points(pixel, size, pitch, side):
    """The grid points around a pixel in one direction, found by their distances."""
    centres = [i * pitch + (pitch - 1) / 2 for i in range(-2, size // pitch + 3)]
    if side == 2:
        by_distance = sorted(centres, key=lambda centre: (abs(centre - pixel), -centre))
        chosen = sorted(by_distance[:2])
    else:
        own = pixel // pitch * pitch + (pitch - 1) / 2
        chosen = [own - pitch, own, own + pitch]
    last = (size - 1) // pitch
    return [min(max(round((centre - (pitch - 1) / 2) / pitch), 0), last) for centre in chosen]


@pytest.mark.parametrize("neighbours", [4, 9])
@pytest.mark.parametrize("pitch", [1, 2, 3, 4, 20])
def test_equals_the_definition(backend, neighbours, pitch):
    options = {"stride": (2, 1), "padding": (1, 2), "dilation": (1, 2), "negative_slope": 0.5}
    case = Case(1, 2, 3, (6, 4), (3, 2), 5, 2, neighbours, pitch, options=options)
    case.options["upsample"] = 2
    x, d, P, q, a, b = case.tensors(normal(0))
    oh, ow = case.output_size()
    side = {4: 2, 9: 3}[neighbours]
    grid = F.leaky_relu(torch.einsum("ocuvk,nkij->nocuvij", P, d) + q[..., None, None], 0.5)
    padded = F.pad(x.repeat_interleave(2, 2).repeat_interleave(2, 3), (2, 2, 1, 1))
    expected = b.clone()
    for row in range(oh):
        rows = nearest_points(row, oh, pitch, side)
        for column in range(ow):
            columns = nearest_points(column, ow, pitch, side)
            near = torch.stack([grid[..., i, j] for i in rows for j in columns])
            w = torch.einsum("j,jnocuv->nocuv", a[0, :, row, column], near)
            patch = padded[:, :, 2 * row :, column:][:, :, :3, :3:2]
            for group in range(2):
                some = slice(3 * group, 3 * group + 3)
                used = patch[:, 2 * group : 2 * group + 2]
                expected[:, some, row, column] += torch.einsum("nocuv,ncuv->no", w[:, some], used)
    torch.testing.assert_close(case.call((x, d, P, q, a, b), backend), expected)


def test_is_adaptive_convolution_where_every_pixel_has_a_point(backend):
    case = Case(2, 3, 4, (5, 6), neighbours=9, pitch=1, options={"padding": 1})
    x, d, P, q, a, b = case.tensors(normal(1))
    a = torch.zeros_like(a)
    a[:, 4] = 1
    expected = adaptive_conv2d(x, d, P, q, b, padding=1, backend=backend)
    torch.testing.assert_close(case.call((x, d, P, q, a, b), backend), expected)


@pytest.mark.parametrize(("slope", "upsample", "neighbours"), [(0.0, 1, 4), (0.3, 2, 9)])
@pytest.mark.parametrize("biased", [True, False])
def test_gradients_of_both_orders(backend, slope, upsample, neighbours, biased):
    options = {"stride": (2, 1), "padding": 1, "dilation": (1, 2), "negative_slope": slope}
    case = Case(
        1, 1, 1, (5, 3) if upsample == 1 else (2, 1), (3, 2), 2, 2, neighbours, 2, biased, biased,
        options={**options, "upsample": upsample},
    )  # fmt: skip
    given = [None if t is None else t.requires_grad_() for t in case.tensors(normal(4))]
    assert torch.autograd.gradcheck(lambda *t: case.call(t, backend), given)
    assert torch.autograd.gradgradcheck(lambda *t: case.call(t, backend), given)


def test_same_bits_at_every_number_of_threads(cpu_backend):
    tensors = [t.float() for t in LAYER.tensors(normal(12))]
    threads = torch.get_num_threads()
    expected = results(LAYER, tensors, gradient_of, cpu_backend)
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            again = results(LAYER, tensors, gradient_of, cpu_backend)
            assert all(map(torch.equal, again, expected))
    finally:
        torch.set_num_threads(threads)


def test_nan_is_not_hidden(backend):
    """It reaches the pixels that have its point as a neighbour, and no others."""
    x, d, *others = LAYER.tensors(normal(14))
    d[0, 0, 1, 1] = float("nan")
    y = LAYER.call([x, d, *others], backend)
    assert y[0, :, 2:10, 2:10].isnan().all()
    assert y.isnan().sum() == y.shape[1] * 8 * 8


@pytest.mark.parametrize("biased", [True, False])
def test_opcheck(cpu_backend, biased):
    pairs = {"stride": (2, 1), "padding": (1, 0), "dilation": (1, 2)}
    case = Case(
        1, 2, 1, (5, 6), (2, 3), 3, 2, 4, 2, with_q=biased, with_b=biased, options=pairs
    )  # fmt: skip
    tensors = [None if t is None else t.requires_grad_() for t in case.tensors(normal(15))]
    options = (2, *pairs.values(), 2, 0.1, 1)
    forward = torch.ops.adaconv.local_adaptive_conv2d
    torch.library.opcheck(forward, (*tensors, *options, cpu_backend))
    gy = gradient_of(forward(*tensors, *options, cpu_backend))
    given = (gy, *tensors[:5], *options, [True] * 5, cpu_backend)
    torch.library.opcheck(torch.ops.adaconv.local_adaptive_conv2d_backward, given)
