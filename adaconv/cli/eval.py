"""``adaconv eval``."""

import contextlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Literal

import torch
import tyro
from rich.console import Console
from rich.progress import track
from rich.table import Table

import adaconv
from adaconv import data as sources
from adaconv.cli._usage import UsageError, check_backends, data_of, set_threads, usage
from adaconv.eval import EXTRACTORS, SCORES, Record, evaluate, metric
from adaconv.eval.cache import FOLDER
from adaconv.nn._names import unknown
from adaconv.train import Checkpoint


def evaluation(
    checkpoint: tyro.conf.Positional[Path],
    *,
    metrics: tuple[str, ...] = ("is", "fid", "kid", "prd"),
    features: str = "lite0",
    weights: Path | None = None,
    data: str | None = None,
    split: str = "train",
    count: int | None = None,
    real: int | None = None,
    seed: int = 0,
    out: Path | None = None,
    cache: Path = FOLDER,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    backend: str | None = None,
    threads: int | None = None,
) -> None:
    """Score a trained generator: Inception score, FID, KID, precision and recall.

    Every score is named after its feature network: FID-lite0@128 is not the FID of the literature,
    whose network is Inception. Beside it stands the floor, the score of as many other real images.

    For example:
        adaconv eval runs/adagan-3x3-twemoji/checkpoint.safetensors
        adaconv eval runs/a/checkpoint.safetensors --metrics is --count 50000
        adaconv eval runs/a/checkpoint.safetensors --features inception \
--weights weights-inception-2015-12-05-6726825d.pth

    Args:
        checkpoint: File that `adaconv train` wrote.
        metrics: is, fid, kid and prd (precision and recall).
        features: Feature network: lite0 (EfficientNet-Lite0 at 128 px), or inception.
        weights: File of inception's original weights.
        data: Images to compare with; by default those that the model was trained on.
        split: Split of the data: train, test, ...
        count: Images to generate; by default 10,000, or half of the data if these are fewer.
        real: Real images to compare with; by default as many, and none for `--metrics is`. As many
            others as are generated are needed for the floor.
        seed: Seed of the latent vectors and of what the metrics draw; it decides the scores.
        out: File to append the scores to, a line of JSON each; by default scores.jsonl beside the
            checkpoint.
        cache: Folder for what is known of the real images.
        device: Where to compute; auto takes a GPU where there is one.
        backend: Backend of the adaptive convolutions; by default the best that runs.
        threads: CPU threads to compute with; by default one per core.
    """
    check_backends(backend)
    set_threads(threads)
    out = out or checkpoint.parent / SCORES
    if not out.parent.is_dir():
        raise UsageError(f"--out must lie in an existing folder, got {out}")
    if not metrics:
        raise UsageError("--metrics needs at least one of: is, fid, kid, prd")
    with usage():
        for name in metrics:
            metric(name)
        if features not in EXTRACTORS:
            raise ValueError(unknown("feature network", features, EXTRACTORS))
        saved = Checkpoint.load(checkpoint)
        place = _place(device)
        gan = saved.create().to(place)
        dataset = sources.load(
            data_of(saved, data), image_size=saved.model["image_size"], split=split
        )
        extractor = EXTRACTORS[features](weights).to(place)
        with contextlib.nullcontext() if backend is None else adaconv.backend(backend):
            records = evaluate(
                gan,
                dataset,
                extractor,
                metrics,
                n_fake=count,
                n_real=real,
                seed=seed,
                folder=cache,
                watch=_progress,
            )
    with out.open("a", encoding="utf-8") as file:
        origin = {"checkpoint": str(checkpoint), "step": saved.step}
        file.writelines(json.dumps(asdict(record) | origin) + "\n" for record in records)
    _show(records)
    print(f"scores in {out}")


def _place(device: str) -> torch.device:
    there = torch.cuda.is_available()
    if device == "cuda" and not there:
        raise ValueError("--device cuda needs a GPU that PyTorch can use: there is none")
    return torch.device("cuda" if there and device == "auto" else device.replace("auto", "cpu"))


def _progress(batches: Iterable[torch.Tensor], what: str, count: int) -> Iterable[torch.Tensor]:
    return track(batches, what, count, console=Console(stderr=True), transient=True)


def _show(records: Sequence[Record]) -> None:
    """Print a table of the scores, and below it what they have in common and what they mean."""
    first = records[0]
    table = Table("score", "value", "floor", "real", "generated", "splits", box=None)
    for r in records:
        spread = "" if r.std is None else f" ± {r.std:.3g}"
        row = f"{r.value:.5g}{spread}", f"{r.floor:.5g}", f"{r.n_real:,}", f"{r.n_fake:,}"
        table.add_row(r.metric, *row, str(r.splits))
    console = Console(soft_wrap=True, highlight=False)
    console.print(table)
    console.print("floor: the score of as many other real images in place of the generated ones")
    console.print(
        f"features: {first.extractor}, {first.resize}, weights {first.extractor_sha256[:12]}; "
        f"data: {first.data}; model: {first.model}; seed: {first.seed}",
        markup=False,
    )
    for protocol, names in _grouped((r.protocol, r.metric) for r in records).items():
        console.print(f"{', '.join(names)}: {protocol}", markup=False)
    for note in _grouped((note, r.metric) for r in records for note in r.notes):
        console.print(f"note: {note}", markup=False)


def _grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for key, value in pairs:
        found.setdefault(key, []).append(value)
    return found
