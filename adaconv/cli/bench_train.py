"""``adaconv bench train``."""

from pathlib import Path

from adaconv.cli._usage import bench_module, check_backends, usage


def bench_train(
    *,
    model: str = "adagan-3x3",
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
    """Measure training steps: discriminator, generator, Adam.

    The model is trained twice from the same weights on the same images, in turns: with adaconv and
    with the same model in plain PyTorch. The losses of the first five steps stand side by side;
    where these, or what the blocks did in the first step, differ by more than rounding explains,
    no speed-up is shown and the exit code is 1.

    For example:
        adaconv bench train
        adaconv bench train --model adagan-5x5 --batch 16 --against eager-tuned --json out.json

    Args:
        model: Any model that adaconv train takes.
        against: eager, eager-tuned (with an allocator that keeps freed memory; each the fastest of
            its formulations, found by a trial), compile, reference, ...
        backend: Backend to measure; by default the best that runs.
        image_size: Height and width of the images in pixels, a multiple of 8.
        width: Factor on the number of channels.
        batch: Images per update; by default the model's own (64 for AdaGAN).
        threads: CPU threads to compute with; by default one per core.
        steps: Timed steps of each; by default as many as fit into --seconds, at least 4.
        seconds: Time for the timed steps.
        json: File to write every number to.
    """
    check_backends(backend)
    training_run = bench_module("training_run", "train,bench")
    with usage():
        return training_run.run(
            model,
            against=against,
            backend=backend,
            image_size=image_size,
            width=width,
            batch=batch,
            threads=threads,
            steps=steps,
            seconds=seconds,
            json=json,
        )
