"""The Triton kernels against the reference: on a GPU, or else in Triton's interpreter.

On small integers every order of summation gives the same result, so that they must be equal.
"""

import adaconv_kernels.adaptive_conv as launches
import pytest
import torch
from adaptive_conv_cases import OUTPUTS, Case, results
from adaptive_conv_cases import SMALL_CASES as CASES
from triton_contract import calls, check_equal, check_errors, check_noticed, integers, on, plant

from adaconv import adaptive_conv2d
from adaconv.nn import AdaConvBlock
from adaconv.ops import _checks
from adaconv.ops.adaptive_conv import MEMORY

pytestmark = pytest.mark.usefixtures("poisoned")

#: Faults of the kernels, each of which must be noticed: (what stands there, what is to stand).
FAULTS = {
    "border": ("inside = (ih >= 0)", "inside = (ih >= -1)"),
    "last taps": ("& (j < J)[None, :]\n", "\n"),
    "last features": ("& (k < D), TERMS)", ", TERMS)"),
    "sum of gq": (
        "total_q = add_up(scaled, ones, total_q",
        "total_q = add_up(scaled, ones, total_q / 2",
    ),
    "word of the tap": ("words_of(group, j, start", "words_of(group, first, start"),
    "bits of the tap": ("words >> j % (32 // SIGN_O) * SIGN_O", "words"),
    "gather": ("reads = (top >= 0)", "reads = (top >= 1)"),
}


def check(device, index, dtype=torch.float32):
    """Compare with the reference; every other case keeps no sign bits."""
    case, memory = CASES[index], MEMORY[index % 2]
    tensors = case.tensors(integers(index))

    def gy_of(y):
        return integers(index + 1)(*y.shape).to(y)

    expected = results(case, tensors, gy_of, "reference")
    found = results(case, on(device, dtype, tensors), gy_of, "triton", memory=memory)
    check_equal(found, expected)


@pytest.mark.parametrize(("index", "dtype"), calls(len(CASES)))
def test_integers_are_exact(triton_device, index, dtype):
    check(triton_device, index, dtype)


#: Words of one output and of several, ragged taps and outputs, groups, blocks and tiles.
SIGNS = (
    Case(2, 3, 1, (3, 4), (3, 3), 5, options={"padding": 1}),
    Case(2, 2, 3, (3, 5), (3, 2), 5, groups=2, options={"stride": (2, 1), "negative_slope": 0.5}),
    Case(1, 1, 20, (3, 3), (2, 2), 17, options={"padding": 1, "dilation": 2, "upsample": 2}),
    Case(1, 1, 70, (2, 3), (1, 2), 140, groups=2, with_q=False),
)


@pytest.mark.parametrize("case", SIGNS, ids=str)
def test_gradients_know_nothing_of_where_the_signs_are_from(triton_device, monkeypatch, case):
    """Kept or made anew, of the batch or a sample at a time: the same bit for bit."""
    generator = torch.Generator().manual_seed(9)
    tensors = case.tensors(lambda *shape: torch.randn(shape, generator=generator), torch.float32)
    for size in (launches.CHUNK_BYTES, 1):
        monkeypatch.setattr(launches, "CHUNK_BYTES", size)
        found = [
            results(case, on(triton_device, torch.float32, tensors), torch.sin, "triton", memory=m)
            for m in MEMORY
        ]
        for kept, anew in zip(*found, strict=True):
            assert torch.equal(kept, anew)


@pytest.mark.parametrize("case", SIGNS, ids=str)
def test_words_have_the_signs(triton_device, case):
    """Every bit is written, those beyond the taps and the outputs too, which are 0."""
    x, d, P, q, _ = on(triton_device, torch.float32, case.tensors(integers(10)))
    options = [
        _checks.pair(name, case.options.get(name, least), least)
        for name, least in (("stride", 1), ("padding", 0), ("dilation", 1))
    ]
    more = case.groups, case.options.get("negative_slope", 0.0), case.options.get("upsample", 1)
    forward = torch.ops.adaconv.adaptive_conv2d
    _, words = forward(x, d, P, q, None, *options, *more, True, "triton")
    bits = words[..., None] >> torch.arange(32, device=triton_device) & 1
    z = torch.einsum("gojk,nkhw->gjonhw", P.flatten(1, 3).unflatten(0, (case.groups, -1)), d)
    z += 0 if q is None else q.flatten(1).unflatten(0, (case.groups, -1)).mT[..., None, None, None]
    outputs = launches._signs.outputs_of(case.outputs)
    pads = (0, 0, 0, 0, 0, 0, 0, -z.shape[2] % outputs, 0, -z.shape[1] % (32 // outputs))
    z = torch.nn.functional.pad(z, pads).flatten(3)
    z = z.unflatten(2, (-1, outputs)).unflatten(1, (-1, 32 // outputs)).transpose(2, 3)
    expected = (z.flatten(0, 2).flatten(1, 2) > 0).mT
    assert torch.equal(bits.bool(), expected)


def test_chunks_of_the_batch_add_up(triton_device, monkeypatch):
    case = Case(batch=5, channels=2, outputs=3, features=4, size=(4, 5), options={"padding": 1})
    tensors = [t.to(triton_device, torch.float32) for t in case.tensors(integers(0))]
    whole = results(case, tensors, torch.ones_like, "triton")
    monkeypatch.setattr(launches, "CHUNK_BYTES", 2 * 20 * 4 * (18 + 3))
    for got, want in zip(results(case, tensors, torch.ones_like, "triton"), whole, strict=True):
        torch.testing.assert_close(got, want, rtol=0, atol=0)


@pytest.mark.parametrize("slope", [0.0, 0.2, 1.0])
def test_error_is_that_of_pytorch(triton_device, slope):
    case = Case(2, 16, 16, (8, 8), (3, 3), 32, options={"padding": 1, "negative_slope": slope})
    check_errors(case, results, triton_device)


@pytest.mark.parametrize("scale", [2.0**-40, 1.0, 2.0**40])
def test_any_scale(triton_device, scale):
    """Factors are brought into float16's range and back by powers of two."""
    case = Case(2, 3, 4, (5, 5), (3, 3), 8, with_b=False, options={"padding": 1})
    x, d, P, q, _ = case.tensors(integers(3))
    tensors = x, d * scale, P, q * scale, None
    expected = results(case, tensors, torch.ones_like, "reference")
    given = [None if t is None else t.to(triton_device, torch.float32) for t in tensors]
    for got, want in zip(results(case, given, torch.ones_like, "triton"), expected, strict=True):
        error = (got.cpu() - want).norm() / want.norm()
        assert error < 1e-6


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_stays_where_it_is(triton_device, value):
    case = Case(2, 3, 4, (6, 6), (3, 3), 8, options={"padding": 1, "negative_slope": 0.5})
    tensors = [t.to(triton_device, torch.float32) for t in case.tensors(integers(4))]
    clean = results(case, tensors, torch.ones_like, "triton")
    tensors[0][0, 0, 0, 0] = value
    y, *_ = results(case, tensors, torch.ones_like, "triton")
    assert not y[0, :, 0, 0].isfinite().all()
    torch.testing.assert_close(y[1], clean[0][1], rtol=0, atol=0)
    torch.testing.assert_close(y[0, :, 2:, 2:], clean[0][0, :, 2:, 2:], rtol=0, atol=0)


def test_strides_and_memory_formats(triton_device):
    case = Case(2, 4, 3, (6, 5), (3, 3), 6, options={"padding": 1})
    tensors = [t.to(triton_device, torch.float32) for t in case.tensors(integers(5))]
    expected = results(case, tensors, torch.ones_like, "triton")
    x, d, P, q, b = tensors
    last = torch.channels_last
    strided = [
        x.contiguous(memory_format=last), d.contiguous(memory_format=last),
        P.repeat_interleave(2, 4)[..., ::2], q.transpose(0, 1).contiguous().transpose(0, 1),
        b[:, :, :, :1].expand_as(b),
    ]  # fmt: skip
    found = results(case, strided, torch.ones_like, "triton")
    assert found[0].is_contiguous(memory_format=last)
    expected[0] += strided[4] - b
    for got, want in zip(found, expected, strict=True):
        torch.testing.assert_close(got, want, rtol=0, atol=0)


def test_empty_batch(triton_device):
    x, P = torch.empty(0, 2, 4, 4, device=triton_device), torch.ones(3, 2, 3, 3, 2)
    x, P = x.requires_grad_(), P.to(triton_device).requires_grad_()
    y = adaptive_conv2d(x, x, P, padding=1, backend="triton")
    y.sum().backward()
    assert y.shape == (0, 3, 4, 4)
    assert x.grad.shape == x.shape
    assert not P.grad.any()


def test_operators_are_registered_well(triton_device):
    case = Case(1, 2, 3, (4, 4), (3, 3), 4, options={"padding": 1})
    x, d, P, q, b = (t.to(triton_device, torch.float32) for t in case.tensors(integers(6)))
    arguments = (x, d, P, q, b, (1, 1), (1, 1), (1, 1), 1, 0.0, 1, True, "triton")
    torch.library.opcheck(torch.ops.adaconv.adaptive_conv2d, arguments)


def test_compiles_whole(triton_device):
    case = Case(1, 2, 3, (4, 4), (3, 3), 4, options={"padding": 1})
    tensors = [t.to(triton_device, torch.float32) for t in case.tensors(integers(7))]
    compiled = torch.compile(lambda *t: case.call(t, "triton"), fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(*tensors), case.call(tensors, "triton"), rtol=0, atol=0)


@pytest.mark.parametrize("upsample", [1, 2])
def test_a_whole_block(triton_device, upsample):
    torch.manual_seed(0)
    block = AdaConvBlock(4, 3, 3, padding=1, upsample=upsample).to(triton_device)
    leaves = [torch.randn(2, 4, 5, 6, device=triton_device).requires_grad_(), *block.parameters()]
    found = {}
    for backend in ("triton", "reference"):
        block.backend = backend
        y = block(leaves[0])
        found[backend] = [y, *torch.autograd.grad(y.square().sum(), leaves)]
    for got, want in zip(*found.values(), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4 * want.abs().max().item())


def test_second_derivatives(triton_device):
    case = Case(1, 1, 2, (3, 3), (2, 2), 2, options={"padding": 1, "negative_slope": 0.5})
    tensors = [t.to(triton_device, torch.float32) for t in case.tensors(integers(8))]
    found = []
    for backend in ("triton", "reference"):
        leaves = [t.detach().requires_grad_() for t in tensors]
        y = case.call(leaves, backend)
        first = torch.autograd.grad(y.square().sum(), leaves, create_graph=True)
        found.append(torch.autograd.grad(sum(g.square().sum() for g in first), leaves[:4]))
    for got, want in zip(*found, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5 * want.abs().max().item())


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_noticed(triton_device, monkeypatch, tmp_path, fault):
    plant(monkeypatch, tmp_path, launches, *FAULTS[fault])
    check_noticed(
        [lambda i=i: check(triton_device, i) for i in (*range(4), *reversed(range(len(CASES))))]
    )


@pytest.mark.parametrize("output", OUTPUTS)
def test_an_error_of_one_percent_is_noticed(triton_device, perturb, output):
    perturb(launches, output)
    check_noticed([lambda i=i: check(triton_device, i) for i in range(4)])
