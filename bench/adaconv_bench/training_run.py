"""The benchmark of training, from a model's name to the table and the JSON file."""

from collections.abc import Sequence
from pathlib import Path

import torch

from adaconv_bench import agreement, table
from adaconv_bench.processes import environment, in_fresh_process
from adaconv_bench.registry import Provider, adaconv_provider, closest, operator
from adaconv_bench.timing import Budget
from adaconv_bench.training import Course, Match, new_gan, run_match
from adaconv_bench.training_report import TrainingReport

#: What ``against`` takes → the formulations that are tried for it; the fastest is raced.
BEST_OF = {
    "eager": ("eager", "eager-mulsum"),
    "eager-tuned": ("eager-tuned", "eager-mulsum-tuned"),
}


def run(
    model: str = "adagan-3x3",
    *,
    against: str = "eager",
    backend: str | None = None,
    image_size: int = 32,
    width: float = 1.0,
    batch: int | None = None,
    threads: int | None = None,
    steps: int | None = None,
    seconds: float = 30.0,
    json: Path | None = None,
) -> int:
    """Train a model with adaconv and with another formulation, check both, and show the ratio.

    Args:
        model: name of the model, see :func:`adaconv.models.create`.
        against: ``"eager"`` or ``"eager-tuned"``, the best of their formulations, which a short
            trial decides; or any provider of adaptive convolution, such as ``"reference"``.
        backend: backend of adaconv to measure; ``None`` lets adaconv choose.
        image_size: height and width of the images in pixels.
        width: factor on the model's channels.
        batch: images per update; ``None`` takes the model's own.
        threads: threads that torch computes with; ``None`` leaves torch's own choice.
        steps: timed steps of each; ``None`` takes as many as fit into ``seconds``, at least 4.
        seconds: time to spend on the timed steps, in seconds.
        json: file to write every number to.

    Returns:
        The exit code: 0 where both trained alike, 1 otherwise.

    Raises:
        ValueError: a model, provider or backend is unknown, or a number is too small.
        ModuleNotFoundError: a package that training needs is missing.
    """
    known = operator("adaptive_conv")
    closest(against, known.choices, "provider of adaptive_conv")
    ours = adaconv_provider(backend)
    others = [known.provider(name) for name in BEST_OF.get(against, (against,))]
    for name, number in (("batch", batch), ("threads", threads)):
        if number is not None and number < 1:
            raise ValueError(f"{name} must be at least 1, got {number}")
    if json is not None and json.is_dir():
        raise ValueError(f"a file must be named to write to, got the folder {json}")
    course = _course(model, image_size, width, batch, threads, steps, seconds)
    console = table.console()
    with console.status(f"training {model}, batch {course.batch}"):
        match = _match(course, ours, others)
    report = TrainingReport.of(course, match)
    report.show(console)
    if json is not None:
        report.write_json(json)
        console.print(f"numbers: {json}", markup=False)
    return 0 if report.green else 1


def _course(
    model: str,
    image_size: int,
    width: float,
    batch: int | None,
    threads: int | None,
    steps: int | None,
    seconds: float,
) -> Course:
    """Decide what is trained; whatever is timed, the steps that are compared are made."""
    budget = Budget(steps, seconds, least=agreement.STEPS - 1)
    warm_up = 1 if steps is None else max(1, agreement.STEPS - steps)
    threads = threads or torch.get_num_threads()
    own_batch = new_gan(model, image_size, width).batch_size  # and the model is known to exist
    return Course(model, image_size, width, batch or own_batch, threads, budget, warm_up)


def _match(course: Course, ours: Provider, others: Sequence[Provider]) -> Match:
    """Hold the match here, or in a process of its own where the environment has to be another."""
    variables = others[0].environment
    if not variables:
        return run_match(course, ours, others)
    with environment(variables):
        return in_fresh_process(run_match, course, ours, others)
