"""``adaconv share``."""

from pathlib import Path

import tyro

from adaconv.cli._usage import UsageError, usage
from adaconv.report import Run
from adaconv.report import share as share_run


def share(
    run: tyro.conf.Positional[Path],
    *,
    out: Path = Path("shared"),
    push: str | None = None,
) -> None:
    """Write the model of a run as others can take it: weights, configuration and a card.

    The card has the settings, where the data are, the machine and the scores of `adaconv eval`:
    read it before you give it away. `adaconv.models.GAN.from_pretrained` reads the folder, or the
    repository.

    For example:
        adaconv share runs/adagan-3x3-twemoji --out adagan
        adaconv share runs/adagan-3x3-twemoji --out adagan --push user/adagan-twemoji

    Args:
        run: Folder that `adaconv train` wrote.
        out: New or empty folder for model.safetensors, config.json and README.md.
        push: Repository of the Hugging Face Hub, USER/NAME, to put the same into.
    """
    if not out.parent.is_dir():
        raise UsageError(f"--out must lie in an existing folder, got {out}")
    with usage():
        share_run(Run.read(run), out, push)
    print(f"model and card in {out}" + (f" and {push}" if push else ""))
