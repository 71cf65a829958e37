"""A trained model as others can take it, with a card that tells of its training."""

import os
from typing import Any

from adaconv.report.parts import View
from adaconv.report.run import Run
from adaconv.train.files import making


def share(run: Run, out: str | os.PathLike[str], repository: str | None = None) -> None:
    """Write the model of a run into a new folder, see :class:`adaconv.models._sharing.Shared`.

    Args:
        run: the run; its card has the settings, the machine, and the last score of each kind.
        out: new or empty folder, which is filled whole or not at all.
        repository: of the Hugging Face Hub, ``user/name``; the same goes there too.

    Raises:
        ValueError: the folder is in use.
        ModuleNotFoundError: the package huggingface_hub is missing.
    """
    view = View(run, None, seed=0)
    about: dict[str, Any] = {
        "training": view.facts() | {key: str(v) for key, v in run.checkpoint.run.items()},
        "machine": view.machine(),
        "scores": list({score["metric"]: score for score in run.scores}.values()),
    }
    with making(out) as folder:
        view.gan.save_pretrained(folder, model_card_kwargs=about)
    if repository is not None:
        view.gan.push_to_hub(repository, model_card_kwargs=about)
