"""Evaluation of a generator against data."""

import hashlib
import importlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from adaconv.data import ImageData, TensorData
from adaconv.data._extra import extra
from adaconv.eval import cache
from adaconv.eval.extractors import Extractor
from adaconv.eval.frechet import FOLDS
from adaconv.eval.scores import METRICS, metric
from adaconv.eval.statistics import KEPT, Statistics, gather
from adaconv.models import GAN
from adaconv.train.files import read_rows
from adaconv.train.images import as_bytes
from adaconv.train.sampling import sample

BATCH = 64
#: Images of each set, where the data have as many.
COUNT = 10_000
#: Name of the file beside a checkpoint that its scores are appended to.
SCORES = "scores.jsonl"

#: Shows how far an iteration is: (batches, what they are, how many) → the batches.
Watch = Callable[[Iterable[Tensor], str, int], Iterable[Tensor]]


@dataclass(frozen=True)
class Record:
    """A score with all that it depends on.

    Attributes:
        metric: name of the score and of the feature network, such as ``FID-lite0@128``.
        value: the score.
        std: its standard deviation, see ``protocol``.
        floor: the same of ``n_fake`` other real images in the place of the generated ones: what a
            perfect generator would reach at these n.
        n_real: real images that were compared with.
        n_fake: generated images.
        splits: parts or repetitions that ``std`` is taken over.
        protocol: what these are.
        extractor: name of the feature network.
        extractor_sha256: hash of its weights.
        resize: how images were brought to its size.
        data: the data and their split.
        model: what generated.
        seed: of the latents, and of what the metric draws.
        notes: what to know before the score is compared with anything.
    """

    metric: str
    value: float
    std: float | None
    floor: float
    n_real: int
    n_fake: int
    splits: int
    protocol: str
    extractor: str
    extractor_sha256: str
    resize: str
    data: str
    model: str
    seed: int
    notes: tuple[str, ...]


def read_scores(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Read the lines of a ``scores.jsonl``, or of the one in a run's folder.

    Each has what a :class:`Record` has, and the ``checkpoint`` with its ``step``.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it has no line, or one that is no score.
    """
    path = Path(path)
    keys = {"checkpoint", "step", *(field.name for field in fields(Record))}
    return read_rows(path / SCORES if path.is_dir() else path, "scores", keys)


def evaluate(
    gan: GAN,
    dataset: TensorData,
    extractor: Extractor,
    metrics: Sequence[str] = tuple(METRICS),
    *,
    n_fake: int | None = None,
    n_real: int | None = None,
    seed: int = 0,
    folder: Path = cache.FOLDER,
    watch: Watch = lambda batches, what, count: batches,
) -> list[Record]:
    """Score the images of a generator, and as many other real ones, against real images.

    The data are shuffled, always alike: the first ``n_real`` are compared with, the ``n_fake`` that
    follow give the floor. What is known of both is kept in ``folder``. All images are rounded to
    bytes. Memory does not depend on the numbers of images.

    Args:
        gan: the model; its generator runs where its parameters are.
        dataset: images of the size that the generator makes.
        extractor: the feature network, on the device where it is to run.
        metrics: keys of :data:`METRICS`.
        n_fake: images to generate; by default 10,000, or half of the data if these are fewer.
        n_real: real images to compare with; by default ``n_fake``, and none for the Inception score
            alone, which compares with nothing.
        seed: seed of the latents, and of what the metrics draw; it decides the scores.
        folder: the cache.
        watch: shows progress.

    Raises:
        ValueError: no metric has a name, the data are no images of the size, or there are too few.
        RuntimeError: the generator makes values that are not finite.
        ModuleNotFoundError: torchmetrics is missing.
    """
    with extra("evaluation", "eval"):
        importlib.import_module("torchmetrics")  # the metrics need it when all images are through
    chosen = {name: metric(name) for name in metrics}
    compares = any(metric_.compares for metric_ in chosen.values())
    n_fake = min(COUNT, len(dataset) // (1 + compares)) if n_fake is None else n_fake
    n_real = n_fake * compares if n_real is None else n_real
    values = _check(gan, dataset, n_real, n_fake)
    for name, metric_ in chosen.items():
        metric_.check(name, min(n_real, n_fake) if metric_.compares else n_fake)
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(dataset)))

    def of_data(start: int, n: int) -> Statistics:
        rows = order[start : start + n]
        key = _key(values, rows, extractor)
        batches = watch((values[i] for i in rows.split(BATCH)), "real images", -(-n // BATCH))
        return cache.cached(key, folder, lambda: gather(batches, n, extractor))

    other = of_data(n_real, n_fake)
    real = of_data(0, n_real) if compares else other
    batches = watch(generated(gan, n_fake, seed), "generated images", -(-n_fake // BATCH))
    fake = gather(batches, n_fake, extractor, folds=FOLDS)
    return [
        Record(
            metric=f"{score.name}-{extractor.name}",
            value=score.value,
            std=score.std,
            floor=floor.value,
            n_real=n_real,
            n_fake=n_fake,
            splits=score.splits,
            protocol=score.protocol,
            extractor=extractor.name,
            extractor_sha256=extractor.sha256,
            resize=extractor.resize,
            data=f"{dataset.name}, {dataset.split} split",
            model=gan.name,
            seed=seed,
            notes=score.notes,
        )
        for metric_ in chosen.values()
        for score, floor in zip(
            metric_.compute(real, fake, seed),
            metric_.compute(real, other, seed),
            strict=True,
        )
    ]


def generated(gan: GAN, n: int, seed: int) -> Iterator[Tensor]:
    """Yield ``n`` generated images as bytes, the same ones for the same seed.

    Raises:
        RuntimeError: a value is not finite.
    """
    generator = torch.Generator().manual_seed(seed)
    for start in range(0, n, BATCH):
        images = sample(gan, gan.latent(min(BATCH, n - start), generator=generator)).float()
        if not images.isfinite().all():
            raise RuntimeError(f"{gan.name} generates values that are not finite")
        yield as_bytes(images)


def _check(gan: GAN, dataset: TensorData, n_real: int, n_fake: int) -> Tensor:
    """The images of the data, if they will do."""
    expected = (3, gan.image_size, gan.image_size)
    if not isinstance(dataset, ImageData) or dataset.item_shape != expected:
        raise ValueError(
            f"the metrics compare images of shape {expected}, which {gan.name} makes: "
            f"got data of shape {dataset.item_shape} ({dataset.name})"
        )
    if n_real + n_fake > len(dataset):
        raise ValueError(
            f"{n_real} real images to compare with and {n_fake} others for the floor must be "
            f"different ones: expected at most {len(dataset)} together, got {n_real + n_fake}"
        )
    return dataset.values


def _key(values: Tensor, rows: Tensor, extractor: Extractor) -> dict[str, str | int]:
    """All that the statistics of real images depend on: above all, the images themselves."""
    digest = hashlib.sha256(repr(values.shape[1:]).encode())
    for index in rows.split(BATCH):
        digest.update(values[index].contiguous().numpy().data)
    return {
        "images": digest.hexdigest(),
        "n": len(rows),
        "kept": KEPT,
        "extractor": extractor.name,
        "resize": extractor.resize,
        "sha256": extractor.sha256,
    }
