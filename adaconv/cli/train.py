"""``adaconv train``."""

from pathlib import Path
from typing import Annotated

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

    Args:
        model: adagan-3x3, adagan-5x5, adagan-2-3x3 (two of four layers adaptive), baseline, ...
        data: twemoji, fashion-mnist, cifar10, stl10 or folder:PATH.
        image_size: Height and width of the images in pixels, a multiple of 8.
        width: Factor on the number of channels; 0.25 trains fast on a laptop.
        out: New or empty folder for checkpoint.pt, metrics.jsonl and samples.png; by default
            runs/MODEL-DATA.
        resume: Go on from the checkpoint in the output folder.
        threads: CPU threads to compute with; by default one per core.
        config: How to train.
    """
    check_backends(config.backend, config.compare)
    set_threads(threads)
    out = out or Path("runs", f"{model}-{Path(data.replace(':', '-')).name}".lower())
    with usage():
        check_output(out, resume=resume)
        torch.manual_seed(config.seed)
        gan = models.create(model, image_size=image_size, width=width)
        dataset = sources.load(data, image_size=image_size)
        print(dataset.describe(), flush=True)
        trainer = Trainer(gan, dataset, out, config)
    print(trainer.run(resume=resume))
