"""``adaconv train``."""

import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro

from adaconv import data as sources
from adaconv import models
from adaconv.cli._usage import check_backends, set_threads, usage
from adaconv.train import TrainConfig, Trainer, check_output


def train(
    model: tyro.conf.Positional[str],
    *,
    data: str = "twemoji",
    image_size: int = 32,
    width: float = 1.0,
    tricks: tuple[str, ...] = (),
    options: tuple[str, ...] = (),
    out: Path | None = None,
    resume: bool = False,
    threads: int | None = None,
    config: Annotated[TrainConfig, tyro.conf.arg(name="")],
) -> None:
    """Train a GAN on images.

    Ctrl-C saves the run and tells how to resume it: give the same command again with --resume.

    For example:
        adaconv train adagan-3x3
        adaconv train adagan-3x3 --width 0.5 --batch-size 16 --steps 2000 --out runs/small
        adaconv train baseline --data folder:~/photos --image-size 64
        adaconv train sngan --options loss=hinge setting=A
        adaconv train wgan-gp --data toy2d:ring
        adaconv train dcgan --tricks feature-matching label-smoothing:0.9
        adaconv train infogan --data fashion-mnist
        adaconv train sngan --precision bf16-mixed --ema 0.999 --schedule linear

    Args:
        model: adagan-3x3, adagan-2-3x3 (two of four layers adaptive), dcgan, ...: see
            adaconv models.
        data: twemoji, fashion-mnist, cifar10, stl10, folder:PATH, or toy2d:ring, grid and swiss.
        image_size: Height and width of the images in pixels.
        width: Factor on the number of channels; 0.25 trains fast on a laptop.
        tricks: Additions to the training: minibatch-discrimination, virtual-batch-norm,
            feature-matching, label-smoothing (or label-smoothing:ALPHA:BETA), historical-averaging,
            consensus (or consensus:GAMMA).
        options: The model's own options as NAME=VALUE: see adaconv models.
        out: New or empty folder for checkpoint.safetensors, metrics.jsonl and samples.png; by
            default runs/MODEL-DATA.
        resume: Go on from the checkpoint in the output folder.
        threads: CPU threads to compute with; by default one per core.
        config: How to train.
    """
    check_backends(config.backend, config.compare)
    set_threads(threads)
    out = out or Path("runs", f"{model}-{Path(data.replace(':', '-')).name}".lower())
    with usage():
        check_output(out, resume=resume)
        own = _own_options(model, options)
        known = models.options(model)
        if sources.is_points(data) and "points" in known:
            own = {"points": True, **own}
        make = functools.partial(models.create, model, image_size, width, tricks=tricks)
        try:
            with torch.device("meta"):  # what it refuses, it refuses before the data are read
                make(**own)
        except TypeError as error:  # an option that the model does not have
            raise ValueError(error) from error
        dataset = sources.load(data, image_size=image_size)
        if "classes" in known and dataset.classes:
            own = {"classes": len(dataset.classes), **own}
        torch.manual_seed(config.seed)
        gan = make(**own)
        test = None
        if gan.tested and dataset.labels is not None:
            test = sources.load(data, image_size=image_size, split="test")
        print(dataset.describe(), flush=True)
        trainer = Trainer(gan, dataset, out, config, test=test)
    print(trainer.run(resume=resume))


def _own_options(model: str, given: Sequence[str]) -> dict[str, Any]:
    """``["wide=true", "loss=hinge"]`` as ``{"wide": True, "loss": "hinge"}``."""
    found = {}
    for text in given:
        name, sign, value = text.partition("=")
        if not (name and sign):
            raise ValueError(
                f"--options takes NAME=VALUE, got {text!r}; the names for {model} are: "
                f"{', '.join(models.options(model))}"
            )
        try:
            found[name] = json.loads(value)
        except json.JSONDecodeError:  # a word
            found[name] = value
    return found
