"""What is asked of the GPU kernels of local adaptive convolution, of every backend's.

``device`` and ``backend`` say whose; ``launches`` is the module that cuts their calls into chunks.
"""

import torch
from local_adaptive_cases import Case, results
from triton_contract import check_equal, check_units, integers, on


def check_case(case, seed, device, backend, dtype, exact):
    """On few and small integers they equal the reference, or err by a unit where sums are rounded.

    Weights and their gradients, sums themselves, are factors on the tensor cores.
    """
    tensors = case.tensors(integers(seed, 1))

    def gy_of(y):
        return integers(seed + 1, 1)(*y.shape).to(y)

    expected = results(case, tensors, gy_of, "reference")
    found = results(case, on(device, dtype, tensors), gy_of, backend)
    if exact or dtype == torch.float32:
        check_equal(found, expected)
    else:
        check_units(found, expected, 2, 1.0)


def check_chunks(monkeypatch, launches, size, device, backend):
    """Of points, of outputs of a group, and of groups; down to one point and one output."""
    case = Case(1, 1, 2, (5, 3), (2, 2), 4, groups=2, options={"padding": 1})
    tensors = on(device, torch.float32, case.tensors(integers(0, 1)))
    whole = results(case, tensors, torch.ones_like, backend)
    monkeypatch.setattr(launches, "CHUNK_BYTES", size)
    monkeypatch.setattr(launches, "LEAST_POINTS", 3)
    check_equal(results(case, tensors, torch.ones_like, backend), whole)


def check_what_is_not_finite(value, device, backend):
    """A point's features reach its window, a pixel's values the pixels that read it."""
    case = Case(1, 2, 3, (12, 8), features=4, options={"padding": 1, "negative_slope": 0.5})
    tensors = on(device, torch.float32, case.tensors(integers(4)))
    for argument, reached in ((1, (slice(0, 6), slice(0, 6))), (0, (slice(0, 2), slice(0, 2)))):
        given = [t.clone() for t in tensors]
        given[argument][0, 0, 0, 0] = value
        finite = case.call(given, backend).isfinite()
        assert not finite[0, 0][reached].any()
        assert finite.logical_not().sum() <= 3 * finite[0, 0][reached].numel()


def check_strides(device, backend):
    """Any strides; channels_last in, channels_last out."""
    case = Case(2, 4, 3, (5, 4), options={"padding": 1})
    tensors = on(device, torch.float32, case.tensors(integers(5, 1)))
    expected = results(case, tensors, torch.ones_like, backend)
    last = torch.channels_last
    x, d, P, q, a, b = tensors
    strided = [
        x.contiguous(memory_format=last), d.contiguous(memory_format=last),
        P.repeat_interleave(2, 4)[..., ::2], q.transpose(0, 1).contiguous().transpose(0, 1),
        a.repeat_interleave(2, 3)[..., ::2], b[:, :, :, :1].expand_as(b),
    ]  # fmt: skip
    found = results(case, strided, torch.ones_like, backend)
    assert found[0].is_contiguous(memory_format=last)
    expected[0] += strided[5] - b
    check_equal(found, expected)


def check_empty_batch(device, backend):
    """No samples give no output, and gradients of zeros."""
    case = Case(batch=0)
    tensors = on(device, torch.float32, case.tensors(torch.ones))
    y, *gradients = results(case, tensors, torch.ones_like, backend)
    assert len(y) == 0
    assert not any(g.any() for g in gradients)


def check_one_gradient(wanted, device, backend):
    """A gradient alone is that among all."""
    case = Case(1, 2, 3, (4, 4), options={"padding": 1})
    tensors = on(device, torch.float32, case.tensors(integers(6, 1)))
    expected = results(case, tensors, torch.ones_like, backend)[1 + wanted]
    tensors[wanted].requires_grad_()
    (got,) = torch.autograd.grad(case.call(tensors, backend).sum(), tensors[wanted])
    torch.testing.assert_close(got, expected, rtol=0, atol=0)
