"""The operators beside adaptive convolution on a GPU: one entry of a table each.

What is computed, and the formulations that it is compared with, are those of the CPU's benchmark.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

import adaconv
from adaconv_bench.gate import ROUNDING, norm
from adaconv_bench.gpu_device import DTYPES, Device, measure
from adaconv_bench.operators.adaptive_separable.cases import PRESETS as SEPARABLE
from adaconv_bench.operators.adaptive_separable.cases import SeparableLayer
from adaconv_bench.operators.dynamic_conv.cases import ADAGAN, SHARED, Layer
from adaconv_bench.operators.local_adaptive.cases import PRESETS as LOCAL
from adaconv_bench.operators.local_adaptive.cases import LocalLayer
from adaconv_bench.operators.minibatch_discrimination.cases import PRESETS as MINIBATCH
from adaconv_bench.operators.minibatch_discrimination.cases import Minibatch
from adaconv_bench.operators.spectral_norm.cases import PRESETS as SPECTRAL
from adaconv_bench.operators.spectral_norm.cases import Discriminator
from adaconv_bench.registry import Case, Problem, draw, operator

#: What errors may be in a norm: twice PyTorch's own, and this much.
SLACK = {torch.float32: ROUNDING, torch.bfloat16: 1e-3}


class Tiny(Discriminator):
    """Two weights."""

    shapes = [(4, 3, 3, 3), (1, 8)]  # type: ignore[assignment]  # noqa: RUF012


@dataclass(frozen=True)
class Entry:
    """What is measured of an operator.

    Attributes:
        batch: samples per call.
        cases: the calls.
        dry: those of a dry run, at a batch of 2.
        eager: names of the formulations of plain PyTorch.
        compiled: name of the one under torch.compile; of the first case in float32 alone, since
            compiling takes its time.
    """

    batch: int
    cases: tuple[Case, ...]
    dry: tuple[Case, ...]
    eager: tuple[str, ...]
    compiled: str


ENTRIES = {
    "minibatch_discrimination": Entry(
        256, MINIBATCH["improved-gan"].cases, (Minibatch("CIFAR-10", 2, 5),),
        ("eager", "eager-broadcast"), "compile",
    ),
    "spectral_norm": Entry(
        1, SPECTRAL["sngan"].cases, (Tiny("narrow"),), ("eager",), "compile"
    ),
    "dynamic_conv": Entry(
        16, (*ADAGAN[::2], *SHARED[:2]), (Layer("L1", 4, 3, 4),),
        ("eager-einsum", "eager-mulsum"), "compile",
    ),
    "adaptive_separable": Entry(
        64, SEPARABLE["adagan-cifar10"].cases[::2], (SeparableLayer("L1", 4, 3, 4),),
        ("eager-rows", "eager-mulsum"), "compile-mulsum",
    ),
    "local_adaptive": Entry(
        64, LOCAL["adagan-cifar10"].cases[::2], (LocalLayer("L1", 4, 3, 4, pitch=2),),
        ("eager-cells", "eager-mixed"), "compile-cells",
    ),
}  # fmt: skip


class Drawn(TorchFunctionMode):
    """A scope in which random numbers are those of the CPU, and lie on the device."""

    def __init__(self, device: str):
        super().__init__()
        self.device = device

    def __torch_function__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        return result.to(self.device) if func in (torch.randn, torch.randint) else result


def _calls(stem: str, device: Device) -> list[tuple[str, Case, int]]:
    """Return title, case and batch of each call."""
    entry = ENTRIES[stem]
    short = "".join(word[:3] for word in stem.split("_"))
    cases, batch = (entry.cases, entry.batch) if device.real else (entry.dry, 2)
    return [(f"{short} {case.name}", case, batch) for case in cases]


def _problem(
    case: Case, batch: int, dtype: torch.dtype, device: Device, values: torch.dtype
) -> Problem:
    with Drawn(device.name):
        return draw(case, batch, dtype, values)


def errors(stem: str, device: Device) -> list[dict[str, Any]]:
    """Return the relative errors against float64, of the kernels and of PyTorch.

    Where a call fails, its row says why.
    """
    rows: list[dict[str, Any]] = []
    for name, dtype in DTYPES.items():
        for title, case, batch in _calls(stem, device):
            head = {"case": title, "dtype": name}
            try:
                found = _errors(case, max(2, batch // 4), dtype, device)
                rows += ({**head, **row} for row in found)
            except Exception as error:
                nan = dict.fromkeys(("error", "torch", "allowed"), float("nan"))
                why = f" {_first_line(error)}"
                rows.append({**head, "of": "call", **nan, "green": False, "why": why})
    return rows


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]} ... {lines[-1]}"


def _errors(case: Case, batch: int, dtype: torch.dtype, device: Device) -> list[dict[str, Any]]:
    def results(backend: str, computed: torch.dtype) -> Mapping[str, Tensor]:
        with adaconv.backend(backend):
            return _problem(case, batch, computed, device, dtype).results()

    exact, ours = results("reference", torch.float64), results("triton", dtype)
    theirs = results("reference", dtype)
    rows = []
    for of, want in exact.items():
        size = norm(want)
        error, torchs = (norm(found[of].double() - want) / size for found in (ours, theirs))
        allowed = 2 * torchs + SLACK[dtype]
        rows.append({
            "of": of, "error": error, "torch": torchs, "allowed": allowed,
            "green": error <= allowed,
        })  # fmt: skip
    return rows


def times(stem: str, device: Device, rates: dict[str, float]) -> list[dict[str, Any]]:
    """Return the rows of an operator: the kernels, each formulation, and one compiled."""
    entry, providers = ENTRIES[stem], operator(stem).providers
    rows = []
    for name, dtype in DTYPES.items():
        for place, (title, case, batch) in enumerate(_calls(stem, device)):
            problem = _problem(case, batch, dtype, device, dtype)
            scopes = {"adaconv": functools.partial(adaconv.backend, "triton")}
            scopes |= {key: providers[key].active for key in entry.eager}
            if device.real and dtype == torch.float32 and place == 0:
                scopes[entry.compiled] = providers[entry.compiled].active
            for provider, scope in scopes.items():
                row = {"case": title, "dtype": name, "batch": batch, "provider": provider}
                try:
                    with scope():
                        row |= measure(lambda problem=problem: _steps(problem), device)
                except Exception as error:
                    print(f"{title} {name} {provider} cannot be timed: {_first_line(error)}")
                    continue
                if provider == "adaconv":
                    row["floor_ms"] = _floor(problem, rates)
                rows.append(row)
    return rows


def _steps(problem: Problem) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Return the forward pass, and it with its backward pass."""

    def forward() -> None:
        with torch.no_grad():
            problem.forward()

    return forward, lambda: problem.backward(problem.forward())


def _floor(problem: Problem, rates: dict[str, float]) -> dict[str, float]:
    """Return what a call takes at least, in ms, by the bytes of arguments and results."""
    size = sum(leaf.nbytes for leaf in problem.leaves.values())
    out = problem.cotangent.nbytes
    return {
        "fwd_bytes": (size + out) / rates["copy"] / 1e6,
        "fwd+bwd_bytes": (3 * size + 2 * out) / rates["copy"] / 1e6,
    }
