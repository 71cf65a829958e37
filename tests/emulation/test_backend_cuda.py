"""The CUDA backend from the operator down to emulated kernels, and why it cannot run."""

import sys
from pathlib import Path

import pytest
import torch
from emulator import ROOT, some

import adaconv
from adaconv import adaptive_conv2d, cuda
from adaconv.cuda import _native, adaptive_conv

sys.path.insert(0, str(Path(__file__).parents[1] / "ops"))
from adaptive_conv_cases import OUTPUTS, SMALL_CASES, Case, results
from conv_contract import check_compiles
from triton_contract import check_integers, check_noticed, integers

CALLS = list(enumerate(SMALL_CASES))[::3]


def check(index, dtype=torch.float32):
    check_integers(SMALL_CASES[index], results, index, "cuda", "cpu", dtype)


@pytest.mark.usefixtures("emulated", "poisoned")
class TestAdaptiveConvolution:
    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
    @pytest.mark.parametrize("index", some(range(0, len(SMALL_CASES), 3)))
    def test_integers_are_exact(self, index, dtype):
        check(index, dtype)

    @pytest.mark.parametrize("memory", ["mask", "recompute"])
    def test_some_samples_at_a_time(self, monkeypatch, memory):
        monkeypatch.setattr(adaptive_conv, "CHUNK_BYTES", 1)
        case = Case(3, 2, 3, (4, 3), (2, 3), 5, options={"padding": 1, "memory": memory})
        check_integers(case, results, 3, "cuda", "cpu", torch.float32)

    def test_any_subset_of_gradients(self):
        case = Case(1, 2, 3, (3, 3), (2, 2), 5, options={})
        tensors = [t.float() for t in case.tensors(integers(4))]
        every = [t.clone().requires_grad_() for t in tensors]
        expected = torch.autograd.grad(case.call(every, "reference").sum(), every)
        for i, want in enumerate(expected):
            given = [t.clone().requires_grad_(i == j) for j, t in enumerate(tensors)]
            (found,) = torch.autograd.grad(case.call(given, "cuda").sum(), [given[i]])
            torch.testing.assert_close(found, want, rtol=0, atol=0)

    def test_empty_batch(self):
        x = torch.empty(0, 2, 3, 3, requires_grad=True)
        P = torch.ones(3, 2, 1, 1, 2, requires_grad=True)
        y = adaptive_conv2d(x, torch.empty(0, 2, 3, 3), P, backend="cuda")
        y.sum().backward()
        assert y.shape == (0, 3, 3, 3)
        assert not P.grad.any()

    def test_compiles_whole(self):
        def operator(*tensors, **options):
            return adaptive_conv2d(*tensors, backend="cuda", **options)

        class Single(Case):
            def tensors(self, make):
                return super().tensors(make, torch.float32)

        case = Single(1, 2, 3, (3, 3), (2, 2), 5, options={"padding": 1})
        check_compiles(operator, [case], lambda: integers(7), torch.ones_like, False)

    @pytest.mark.parametrize("output", OUTPUTS)
    def test_an_error_of_one_percent_is_noticed(self, perturb, output):
        perturb(adaptive_conv, output)
        check_noticed([lambda i=i: check(i) for i in range(4)])


def test_what_is_refused_says_so(emulated):
    x, d, P = torch.ones(1, 2, 3, 3), torch.ones(1, 2, 3, 3), torch.ones(3, 2, 1, 1, 2)
    call = adaptive_conv._Call(x, d, P, None, ((1, 1), (0, 0), (1, 1), 2, 0.0, 1))
    with pytest.raises(RuntimeError, match="adaconv_adaptive_conv_forward: P must be contiguous"):
        call.forward(None, None, None)


def test_reasons(emulated, monkeypatch):
    x, d, P = torch.ones(1, 1, 3, 3), torch.ones(1, 1, 1, 1), torch.ones(1, 1, 3, 3, 1)
    assert adaconv.backends("adaptive_conv", x, d, P)["cuda"] is None
    assert "has no kernel for another" in adaconv.backends("another")["cuda"]
    assert "got torch.float64" in adaconv.backends("adaptive_conv", x.double())["cuda"]
    monkeypatch.setattr(emulated, "device", "cuda")
    with pytest.raises(adaconv.BackendError, match="cuda: runs on CUDA tensors, got one on cpu"):
        adaptive_conv2d(x, d, P, backend="cuda")
    if not torch.cuda.is_available():
        assert adaconv.backends()["cuda"] == "no GPU is available"


def test_a_library_that_is_missing_or_broken_says_so(monkeypatch, tmp_path):
    missing = _native.Library(tmp_path / "missing.so", "cpu")
    monkeypatch.setattr(cuda, "library", missing)
    assert "was not built" in adaconv.backends()["cuda"]
    (tmp_path / "broken.so").write_text("no library")
    monkeypatch.setattr(cuda, "library", _native.Library(tmp_path / "broken.so", "cpu"))
    assert "broken.so" in adaconv.backends()["cuda"]


def test_every_operator_has_its_functions():
    """What Python calls under a stem is defined in the sources of that stem."""
    for stem in cuda.OPERATORS:
        sources = "".join(p.read_text() for p in (ROOT / "csrc/cuda").glob(f"{stem}*.cu"))
        assert f"adaconv_{stem}_forward(" in sources
