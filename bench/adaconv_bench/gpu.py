"""The operators on a GPU: their errors, then their speed and memory beside PyTorch's own.

``bench/gpu_check.sh`` runs this. Times are medians of ``triton.testing.do_bench``, which empties
the second cache before each call; forward and backward run as a user calls them, launches included.
The floors are computed from rates that are measured in the same run: operations of the regressions
over the rate of a matrix product on the tensor cores, bytes of arguments and results over that of a
copy. float32 takes three products of float16. An operator whose errors are too large is not timed.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import adaconv
import adaconv.models
from adaconv_bench import gpu_family
from adaconv_bench.gpu_device import DTYPES, Device, measure
from adaconv_bench.operators.adaptive_conv import FORMULAS
from adaconv_bench.operators.adaptive_conv.cases import Layer

NAMES = ("y", "gx", "gd", "gP", "gq")

#: What errors may be in a norm: twice PyTorch's own, and this much.
SLACK = {torch.float32: 2e-7, torch.bfloat16: 1e-3}


def draw(layer: Layer, batch: int, dtype: torch.dtype, device: str) -> tuple[list[Tensor], Tensor]:
    """Return x, d, P, q and the gradient of y; no regressed weight is near 0.

    As in the cases of the CPU's benchmark: the features and the regression lie on a coarse grid,
    its bias between the grid's points, so that no two orders of summation part at an activation.
    """
    generator = torch.Generator().manual_seed(0)

    def whole(limit: int, *shape: int) -> Tensor:
        return torch.randint(-limit, limit + 1, shape, generator=generator)

    filters = (layer.out_channels, layer.channels, layer.kernel, layer.kernel)
    x = torch.randn(batch, layer.channels, *layer.picture, generator=generator)
    gy = torch.randn(batch, layer.out_channels, *layer.output, generator=generator)
    d = whole(4, batch, layer.depth, *layer.output) / 4
    P, q = whole(8, *filters, layer.depth) / 128, (whole(8, *filters) + 0.5) / 64
    leaves = [t.to(device, dtype).requires_grad_() for t in (x, d, P, q)]
    return leaves, gy.to(device, dtype)


def call(layer: Layer, leaves: Sequence[Tensor], backend: str | None = None) -> Tensor:
    """Compute y."""
    return adaconv.adaptive_conv2d(
        *leaves, None, stride=layer.stride, padding=layer.padding, dilation=layer.dilation,
        memory=layer.memory, backend=backend,
    )  # fmt: skip


def results(layer: Layer, leaves: Sequence[Tensor], gy: Tensor, backend: str) -> list[Tensor]:
    """Return y and the gradients."""
    y = call(layer, leaves, backend)
    return [y.detach(), *torch.autograd.grad(y, leaves, gy)]


def errors(layer: Layer, dtype: torch.dtype, device: Device) -> list[dict[str, Any]]:
    """Return the relative errors against float64, of the kernels and of PyTorch.

    Without sign bits in memory the results are the same, bit for bit.
    """
    leaves, gy = draw(layer, max(1, device.batch // 8), dtype, device.name)
    double = [leaf.detach().double().requires_grad_() for leaf in leaves]
    exact = results(layer, double, gy.double(), "reference")
    rows = []
    ours, theirs = (results(layer, leaves, gy, name) for name in ("triton", "reference"))
    for name, a, b, want in zip(NAMES, ours, theirs, exact, strict=True):
        norm = want.norm()
        error, torchs = (((t.double() - want).norm() / norm).item() for t in (a, b))
        allowed = 2 * torchs + SLACK[dtype]
        rows.append({
            "case": layer.name, "dtype": str(dtype)[6:], "of": name, "error": error,
            "torch": torchs, "allowed": allowed, "green": error <= allowed,
        })  # fmt: skip
    anew = results(replace(layer, memory="recompute"), leaves, gy, "triton")
    apart = max((a - b).abs().max().item() for a, b in zip(ours, anew, strict=True))
    rows.append({
        "case": layer.name, "dtype": str(dtype)[6:], "of": "recompute", "error": apart,
        "torch": 0.0, "allowed": 0.0, "green": apart == 0,
    })  # fmt: skip
    return rows


def layer_steps(layer: Layer, leaves: Sequence[Tensor], gy: Tensor) -> tuple[Callable, Callable]:
    """Return the two calls that are timed."""
    plain = [leaf.detach() for leaf in leaves]

    def both() -> None:
        torch.autograd.grad(call(layer, leaves), leaves, gy)

    return lambda: call(layer, plain), both


def floor(
    layer: Layer, batch: int, dtype: torch.dtype, rates: dict[str, float]
) -> dict[str, float]:
    """Return what a call takes at least, in ms, by operations and by bytes: forward, and both."""
    leaves, gy = draw(layer, 1, dtype, "cpu")
    size = sum(leaf.nbytes * (batch if i < 2 else 1) for i, leaf in enumerate(leaves))
    out = gy.nbytes * batch
    peak = rates["float16"] / 3 if dtype == torch.float32 else rates[str(dtype)[6:]]
    operations = layer.flops(batch) / peak / 1e9
    return {
        "fwd_operations": operations, "fwd_bytes": (size + out) / rates["copy"] / 1e6,
        "fwd+bwd_operations": 3 * operations,
        "fwd+bwd_bytes": (3 * size + 2 * out) / rates["copy"] / 1e6,
    }  # fmt: skip


def time_layer(
    layer: Layer, dtype: torch.dtype, device: Device, rates: dict[str, float]
) -> list[dict[str, Any]]:
    """Return the rows of one layer: the kernels, each formula, and the best of them compiled."""
    leaves, gy = draw(layer, device.batch, dtype, device.name)
    head = {"case": layer.name, "dtype": str(dtype)[6:], "batch": device.batch}
    floors = floor(layer, device.batch, dtype, rates)
    rows = []
    with adaconv.backend("triton"):
        for provider, memory in {"adaconv": "mask", "adaconv-recompute": "recompute"}.items():
            variant = replace(layer, memory=memory)
            found = measure(lambda variant=variant: layer_steps(variant, leaves, gy), device)
            rows.append({**head, "provider": provider, **found, "floor_ms": floors})
    for name in ("rows", "mulsum"):
        with FORMULAS.standing_in(name):
            found = measure(lambda: layer_steps(layer, leaves, gy), device)
        rows.append({**head, "provider": f"eager-{name}", **found})
    best = min(rows[2:], key=lambda row: row["fwd+bwd_ms"][1])["provider"].removeprefix("eager-")
    if device.real:
        with FORMULAS.standing_in(best, compiles=True):
            found = measure(lambda: layer_steps(layer, leaves, gy), device)
        rows.append({**head, "provider": f"compile-{best}", **found})
    return rows


def time_generator(dtype: torch.dtype, device: Device) -> list[dict[str, Any]]:
    """Return the rows of AdaGAN's whole generator, under autocast for a short dtype."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        gan = adaconv.models.create(
            "adagan-3x3", image_size=32, width=1.0 if device.real else 1 / 16
        )
    generator = gan.generator.to(device.name).train()
    latent = gan.latent(max(2, device.batch)).to(device.name)
    half = dtype != torch.float32

    def images() -> Tensor:
        with torch.autocast(device.name, dtype=dtype, enabled=half):
            return generator(latent)

    def both() -> None:
        generator.zero_grad()
        images().float().square().sum().backward()

    def forward() -> None:
        with torch.no_grad():
            images()

    rows = []
    head = {"case": "generator", "dtype": str(dtype)[6:], "batch": len(latent)}
    for name, scope in {
        "adaconv": adaconv.backend("triton"),
        "eager-rows": FORMULAS.standing_in({}),
    }.items():
        with scope:
            rows.append({**head, "provider": name, **measure(lambda: (forward, both), device)})
    return rows


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return the rows as text, speed-ups of adaconv first."""
    lines = [
        f"{'case':20} {'dtype':9} {'provider':17} "
        f"{'fwd ms':>9} {'fwd+bwd ms':>11} {'speed-up':>9} MiB"
    ]
    for row in rows:
        call = row["case"], row["dtype"], "adaconv"
        ours = [r for r in rows if (r["case"], r["dtype"], r["provider"]) == call]
        ratio = row["fwd+bwd_ms"][1] / ours[0]["fwd+bwd_ms"][1] if ours else float("nan")
        lines.append(
            f"{row['case']:20} {row['dtype']:9} {row['provider']:17} {row['fwd_ms'][1]:9.3f} "
            f"{row['fwd+bwd_ms'][1]:11.3f} {ratio:9.2f} {row['MiB']:.0f}"
        )
    return "\n".join(lines)


def check(device: Device, stem: str) -> list[dict[str, Any]]:
    """Return the errors of one operator."""
    if stem == "adaptive_conv":
        pairs = ((dtype, layer) for dtype in DTYPES.values() for layer in device.layers())
        return [row for dtype, layer in pairs for row in errors(layer, dtype, device)]
    return gpu_family.errors(stem, device)


def timed(device: Device, stem: str, rates: dict[str, float]) -> list[dict[str, Any]]:
    """Return the times of one operator."""
    if stem != "adaptive_conv":
        return gpu_family.times(stem, device, rates)
    rows = []
    for dtype in DTYPES.values():
        for layer in device.layers():
            rows += time_layer(layer, dtype, device, rates)
        rows += time_generator(dtype, device)
    return rows


def main() -> int:
    """Check, then time; write the numbers. Return 1 where an error is too large."""
    stems = ["adaptive_conv", *gpu_family.ENTRIES]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--out", type=Path, required=True, help="folder of the JSON file")
    parser.add_argument("--operators", nargs="+", default=stems, choices=stems)
    options = parser.parse_args()
    device = Device(options.device)

    rates = device.rates()
    print("rates:", {name: round(rate, 1) for name, rate in rates.items()}, flush=True)
    checks: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    for stem in options.operators:
        found = check(device, stem)
        checks += found
        for row in found:
            line = "{case:20} {dtype:9} {of:10} error {error:.1e}, PyTorch's {torch:.1e}"
            verdict = "" if row["green"] else "  RED, allowed {allowed:.1e}".format(**row)
            print(line.format(**row) + verdict + row.get("why", ""))
        if all(row["green"] for row in found):
            some = timed(device, stem, rates)
            print(table(some), flush=True)
            rows += some
    red = sorted({row["case"] for row in checks if not row["green"]})
    print(f"gate: {'RED: ' + ', '.join(red) if red else 'green'}, {len(checks)} checks", flush=True)

    import triton

    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / f"gpu-{device.title.lower().replace(' ', '-')}.json"
    record = {
        "device": device.title, "torch": torch.__version__, "triton": triton.__version__,
        "adaconv": adaconv.__version__, "checks": checks, "rates": rates, "rows": rows,
    }  # fmt: skip
    path.write_text(json.dumps(record, indent=1))
    print(f"numbers: {path}")
    return 1 if red else 0


if __name__ == "__main__":
    raise SystemExit(main())
