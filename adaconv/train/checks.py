"""What is checked before training begins: the output folder, and whether model and data fit."""

import os
from pathlib import Path

from adaconv import data
from adaconv.models import GAN
from adaconv.train.files import leftovers

CHECKPOINT = "checkpoint.safetensors"


def check_output(out: str | os.PathLike[str], *, resume: bool) -> None:
    """Check that a run can use the folder ``out``.

    Raises:
        ValueError: it holds files already, or, where a run is to be resumed, no checkpoint.
    """
    out = Path(out)
    if resume:
        if not (out / CHECKPOINT).is_file():
            raise ValueError(f"there is nothing to resume: {out / CHECKPOINT} does not exist")
    elif out.is_dir():
        if set(out.iterdir()) - set(leftovers(out)):
            raise ValueError(f"the output folder {out} is not empty: resume, or name another")
    elif out.exists():
        raise ValueError(f"the output folder must be a folder, got the file {out}")


def check_labels(gan: GAN, dataset: data.TensorData) -> None:
    """Raise unless the data have the labels that the model needs."""
    if gan.labelled and dataset.labels is None:
        raise ValueError(
            f"{gan.name} needs data with labels, {dataset.name} has none; there are labels in: "
            f"{', '.join(data.names(labelled=True))}"
        )
    if gan.labelled and len(dataset.classes) != gan.config["classes"]:
        raise ValueError(
            f"{gan.name} is made for {gan.config['classes']} classes, {dataset.name} has "
            f"{len(dataset.classes)}: set the option classes"
        )


def check_shape(gan: GAN, dataset: data.TensorData, made: tuple[int, ...]) -> None:
    """Raise unless the model makes items of the shape that the data have."""
    if made != dataset.item_shape:
        raise ValueError(
            f"{gan.name} makes items of shape {made}, got data of shape {dataset.item_shape} "
            f"({dataset.name})"
        )
