"""``adaconv lab``."""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import torch
import tyro

from adaconv import data as sources
from adaconv import models
from adaconv.cli._usage import set_threads, usage
from adaconv.lab import Camera, check_length, record, save_animation, save_page
from adaconv.train import check_output

#: Steps by default: some two minutes on one core.
STEPS = {"wgan-gp": 2000, "consensus": 6000}
USUAL_STEPS = 5000


def lab(
    data: tyro.conf.Positional[str] = "toy2d:ring",
    *,
    model: tuple[str, ...] = ("gan", "wgan-gp", "consensus"),
    steps: tuple[int, ...] = (),
    frames: int = 40,
    width: float = 1.0,
    seed: int = 0,
    out: Path | None = None,
    threads: int | None = None,
) -> None:
    """Train models on points of the plane, and film them side by side.

    Writes an animation, lab.gif, and a page to be played in a browser, lab.html: what each
    discriminator says of the plane, the samples, modes hit and their quality over time. At the end
    it tells for each model how many modes 2500 samples hit, and the share of high quality: that
    within 3 standard deviations of a mode. The folder of each model is that of a training run.

    For example:
        adaconv lab toy2d:ring --model gan gan+minibatch-discrimination wgan-gp consensus
        adaconv lab toy2d:grid --model wgan-gp --steps 5000 --seed 1 --out runs/grid

    Args:
        data: toy2d:ring, toy2d:grid or toy2d:swiss.
        model: Models that make points, see adaconv models, each with tricks behind + signs.
        steps: Steps of training, one number for all models or one for each; by default as many as
            take each about two minutes on one core.
        frames: Pictures of the animation.
        width: Factor on the units of all hidden layers.
        seed: Seed of the initial weights, the order of the points and the latent vectors.
        out: New or empty folder; by default runs/lab-DATA.
        threads: CPU threads to compute with; by default one per core.
    """
    set_threads(threads)
    out = out or Path("runs", f"lab-{data.replace(':', '-')}")
    with usage():
        check_output(out, resume=False)
        if not sources.is_points(data):
            raise ValueError(f"the lab shows points of the plane, toy2d:..., got {data}")
        dataset = cast(sources.PointData, sources.load(data))
        contenders = _contenders(model, steps, width, seed)
        for _, count in contenders.values():
            check_length(count, frames)
    recordings = []
    for name, (gan, count) in contenders.items():
        print(f"{name}, {count} steps", flush=True)
        recording = record(name, gan, dataset, out / name, steps=count, frames=frames, seed=seed)
        recordings.append(recording)
    extent = Camera(dataset).extent
    save_animation(recordings, dataset, extent, out / "lab.gif")
    save_page(recordings, dataset, extent, out / "lab.html")
    print(*(f"{recording.name}: {recording}" for recording in recordings), sep="\n")
    print(f"animation in {out / 'lab.gif'}, page in {out / 'lab.html'}")


def _contenders(
    names: Sequence[str], steps: Sequence[int], width: float, seed: int
) -> dict[str, tuple[models.GAN, int]]:
    """Make the models, each with its number of steps, before any is trained."""
    if not names or len(set(names)) < len(names):
        raise ValueError(f"--model takes different models, one at least, got {list(names)}")
    if len(steps) not in (0, 1, len(names)):
        raise ValueError(
            f"--steps takes one number, or one for each of {len(names)} models, got {len(steps)}"
        )
    found = {}
    for index, name in enumerate(names):
        model, *tricks = name.split("+")
        if "points" not in models.options(model):
            able = [known for known in models.names() if "points" in models.options(known)]
            raise ValueError(f"{model} makes no points; there are: {', '.join(able)}")
        torch.manual_seed(seed)
        gan = models.create(model, width=width, points=True, tricks=tricks)
        count = steps[index % len(steps)] if steps else STEPS.get(model, USUAL_STEPS)
        found[name] = gan, count
    return found
