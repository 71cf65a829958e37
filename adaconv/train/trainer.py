"""The trainer: alternating updates, metrics, samples, checkpoints, resumption."""

import contextlib
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch.profiler import record_function

import adaconv
from adaconv import data
from adaconv.models import GAN
from adaconv.ops import _dispatch
from adaconv.train.acceleration import accelerate, start
from adaconv.train.averaging import Average
from adaconv.train.boards import boards
from adaconv.train.checkpoint import Checkpoint, CheckpointError
from adaconv.train.checks import CHECKPOINT, check_labels, check_output, check_shape
from adaconv.train.comparison import Comparison, compare
from adaconv.train.config import TrainConfig
from adaconv.train.diagnostics import Diagnostics
from adaconv.train.files import leftovers
from adaconv.train.images import save_samples
from adaconv.train.interruption import Interruption, TrainingInterruptedError
from adaconv.train.machine import machine
from adaconv.train.metrics import Meter, MetricsFile
from adaconv.train.profiling import peak_memory, profiling
from adaconv.train.progress import Report, report
from adaconv.train.random import random_state, set_random_state
from adaconv.train.rates import factor
from adaconv.train.sampling import evaluate, pictures, sample
from adaconv.train.summary import Summary
from adaconv.train.updates import STATEFUL, TrainingDivergedError, Updates

METRICS = "metrics.jsonl"
SAMPLES = "samples.png"
TRACE = "trace.json"


class Trainer:
    """Trains a GAN: a step is ``n_dis`` updates of the discriminator, then one of the generator.

    A model may have other turns, other sides or its own schedule, see :class:`adaconv.models.GAN`.

    The output folder receives ``checkpoint.safetensors`` (the last), ``metrics.jsonl``,
    ``samples.png`` (the last) and ``samples/`` (all, by step; always of the same latents), and
    likewise ``reconstructions``, pairs of an item and what a model with an encoder makes of it. A
    line of metrics holds the step, the mean losses and norms of gradients since the line before and
    what the model observed besides, real images per second, the shares of loading and of each
    update in the time of the steps, what the :class:`~adaconv.train.diagnostics.Diagnostics`
    measured, the most memory in use so far, in MiB, and the seconds of training so far; the first
    line of a process also what it computes with. ``tensorboard/`` has the same numbers for
    TensorBoard. Samples are those of the mean generator, where the settings ask for one.

    The first checkpoint is written before anything else: a run that is killed can be resumed.

    On the CPU, a run that was stopped and resumed ends with the same weights, to the bit, as one
    that was not, at the same number of threads.

    Args:
        gan: the model; it is trained in place.
        dataset: items of the shape that the generator makes.
        out: output folder; created by :meth:`run`.
        config: settings.
        console: where progress is shown; standard output by default.
        watch: called with the step and the model wherever samples are saved.
        test: data to evaluate the model on whenever samples are drawn, see
            :meth:`adaconv.models.GAN.evaluate`; none by default.

    Raises:
        ValueError: the data do not fit the model, or a setting does not fit one of them or the
            device.
        BackendError: a backend of the settings cannot run on the device.

    Example:
        Trainer(models.create("adagan-3x3"), data.load("twemoji"), "runs/first").run()
    """

    def __init__(
        self,
        gan: GAN,
        dataset: data.TensorData,
        out: str | os.PathLike[str],
        config: TrainConfig | None = None,
        console: Console | None = None,
        watch: Callable[[int, GAN], None] | None = None,
        test: data.TensorData | None = None,
    ) -> None:
        self.config = config = config or TrainConfig()
        self.gan, self.dataset, self.test, self.out = gan, dataset, test, Path(out)
        self.console = console or Console()
        self.watch = watch
        self.batch_size = config.batch_size or gan.batch_size
        self.n_dis = config.n_dis or gan.n_dis
        if gan.simultaneous and self.n_dis != 1:
            raise ValueError(
                f"the sides of {gan.name} move at once: n_dis must be 1, got {self.n_dis}"
            )
        self.fabric = start(config)
        #: Backends of this run and of the comparison at its end.
        self.backend = self._select(config.backend)
        self.against = None if config.compare is None else self._select(config.compare)
        check_labels(gan, dataset)
        self.stream = data.loader(
            data.LabelledData(dataset) if gan.labelled else dataset,
            self.batch_size,
            seed=config.seed,
            workers=config.workers,
        )
        gan.prepare(dataset)
        accelerate(gan, dataset, config, self.batch_size)
        self.updates = Updates(
            self.fabric,
            gan,
            accumulate=config.accumulate,
            rate=factor(config.schedule, config.steps),
        )
        self.average = None if config.ema is None else Average(gan, config.ema)
        self.latent = gan.shown_latent(
            config.samples, generator=torch.Generator().manual_seed(config.seed)
        )
        with self._scope(), self.fabric.autocast():
            check_shape(gan, dataset, tuple(sample(gan, self.latent[:1]).shape[1:]))
        self.diagnostics = Diagnostics(gan, dataset, config.seed)
        #: Items that are reconstructed in pictures, by models that can.
        self.shown = self.fabric.to_device(
            dataset.__getitems__(range(min(math.ceil(config.samples / 2), len(dataset))))
        )
        about = {"backend": self.backend, **machine()}
        self.metrics = MetricsFile(self.out / METRICS, about, boards(wandb=config.wandb))
        #: The step under way, or the last one done.
        self.step = 0
        self._earlier_seconds = 0.0

    def run(self, *, resume: bool = False) -> Summary:
        """Train to the last step.

        Args:
            resume: go on from the checkpoint in the output folder.

        Raises:
            ValueError: the output folder cannot be used; nothing was written.
            CheckpointError: the checkpoint there is of another run; nothing was written.
            TrainingInterruptedError: SIGINT or SIGTERM came; the run was saved.
            TrainingDivergedError: a loss, a gradient or a weight is not finite; the last checkpoint
                stays.
            OSError: something cannot be written, on a full disk for one; the last checkpoint stays.
        """
        check_output(self.out, resume=resume)
        if resume:
            self._restore(Checkpoint.load(self.out / CHECKPOINT))
        self.out.mkdir(parents=True, exist_ok=True)
        for path in leftovers(self.out):
            path.unlink()
        self._start = time.monotonic()
        if self.step == 0:
            self._save_checkpoint()
            self._save_samples()
        meter = Meter(self.updates.synchronize)
        with (
            self._scope(),
            self.metrics.shown(self.step),
            Interruption() as interruption,
            report(self.console, self.step, self.config.steps) as shown,
            profiling(self.out / TRACE if self.config.profile else None) as tick,
        ):
            while self.step < self.config.steps:
                self._advance(meter)
                tick()
                signal = interruption.requested
                with self._writing():
                    self._record(meter, shown, last=signal is not None)
                if signal is not None and self.step < self.config.steps:
                    raise TrainingInterruptedError(
                        f"stopped by {signal} after step {self.step}; all is saved in {self.out}"
                    )
        return self._summarize(meter)

    def _advance(self, meter: Meter) -> None:
        """Do one step."""
        self.step += 1
        count = self.gan.discriminator_steps(self.step, self.n_dis)
        try:
            for sides in self.gan.turns(count):
                real = None
                if self.gan.data_sides.intersection(sides):
                    with meter.phase("data"), record_function("data"):
                        real = self._next_batch()
                    meter.images_seen(len(real))
                name = "_and_".join(sides)
                with meter.phase(name), record_function(name):
                    meter.note(self.updates.turn(sides, self.batch_size, real))
        except TrainingDivergedError as error:
            raise self._diverged(str(error)) from error
        self.updates.end_step()
        if self.average is not None:
            self.average.count_in()

    def _next_batch(self) -> data.Batch:
        real = self.fabric.to_device(next(self.stream))
        return real.to(memory_format=torch.channels_last) if self.config.channels_last else real

    def _record(self, meter: Meter, shown: Report, *, last: bool) -> None:
        """Write what is due after a step; after the last one everything is."""
        last = last or self.step == self.config.steps

        def due(every: int) -> bool:
            return last or self.step % every == 0

        row = None
        if self.test is not None and due(self.config.sample_every):
            with self._scope(), self.fabric.autocast():
                meter.note(evaluate(self.gan, self.test))
        if due(self.config.log_every):
            with self._scope(), self.fabric.autocast():
                row = meter.take() | self.diagnostics.measure()
            for warning in self.diagnostics.warnings(row):
                shown.say(f"step {self.step}: {warning}")
            row["peak_memory_mib"] = peak_memory(self.fabric.device)
            self.metrics.append({"step": self.step, **row, "seconds": self._seconds()})
        if due(self.config.sample_every):
            self._save_samples()
        if due(self.config.checkpoint_every):
            self._save_checkpoint()
        shown.show(self.step, row)

    def _summarize(self, meter: Meter) -> Summary:
        seconds = self._seconds()
        return Summary(
            model=self.gan.name,
            data=self.dataset.describe(),
            backend=self.backend,
            steps=self.step,
            seconds=seconds,
            images_per_second=meter.images_per_second,
            comparison=self._compare(seconds),
            samples=self.out / SAMPLES,
            metrics=self.out / METRICS,
            checkpoint=self.out / CHECKPOINT,
        )

    def _compare(self, seconds: float) -> Comparison | None:
        if self.against is None:
            return None
        if self.against == self.backend:
            self.console.print(f"nothing to compare: this run's backend is {self.backend} itself")
            return None
        batches = [self._next_batch() for _ in range(self.n_dis)]
        found = compare(self.fabric, self.gan, batches, self.backend, self.against)
        row = {**asdict(found), "ratio": found.ratio}
        self.metrics.append({"step": self.step, "seconds": seconds, "comparison": row})
        return found

    def _save_samples(self) -> None:
        averaged = contextlib.nullcontext() if self.average is None else self.average.shown()
        with self._scope(), self.fabric.autocast(), averaged:
            found = pictures(self.gan, self.latent, self.shown)
        for name, samples in found.items():
            history = self.out / name
            history.mkdir(parents=True, exist_ok=True)
            for path in (history / f"{self.step:06d}.png", self.out / f"{name}.png"):
                save_samples(samples, path, columns=self.gan.columns)
        if self.watch is not None:
            self.watch(self.step, self.gan)

    def _save_checkpoint(self) -> None:
        networks = self.gan.state_dict()
        for name, value in networks.items():
            if value.is_floating_point() and not value.isfinite().all():
                raise self._diverged(f"{name} holds values that are not finite")
        Checkpoint(
            model=self.gan.config,
            networks=networks,
            step=self.step,
            seconds=self._seconds(),
            run=self._identity(),
            config=asdict(self.config),
            average={} if self.average is None else self.average.state_dict(),
            **self.updates.state_dict(),
            random=random_state(self.fabric.device),
            data=self.stream.state_dict(),
        ).save(self.out / CHECKPOINT)

    def _restore(self, checkpoint: Checkpoint) -> None:
        for key, expected in self._identity().items():
            if checkpoint.run.get(key) != expected:
                raise CheckpointError(
                    f"{self.out / CHECKPOINT} is of another run: it has "
                    f"{key}={checkpoint.run.get(key)!r}, expected {key}={expected!r}"
                )
        self.stream.load_state_dict(checkpoint.data)
        checkpoint.restore(self.gan)
        self.updates.load_state_dict({kind: getattr(checkpoint, kind) for kind in STATEFUL})
        if self.average is not None:
            self.average.load_state_dict(checkpoint.average, checkpoint.step)
        set_random_state(self.fabric.device, checkpoint.random)
        self.step, self._earlier_seconds = checkpoint.step, checkpoint.seconds
        self.metrics.truncate(self.step)

    def _identity(self) -> dict[str, Any]:
        """What a resumed run must share with the one that it goes on with, apart from the model."""
        schedule: str = self.config.schedule
        if schedule != "constant":
            schedule = f"{schedule} over {self.config.steps} steps"
        return {
            "data": self.dataset.name,
            "batch_size": self.batch_size,
            "n_dis": self.n_dis,
            "seed": self.config.seed,
            "precision": self.config.precision,
            "accumulate": self.config.accumulate,
            "ema": self.config.ema,
            "schedule": schedule,
        }

    def _select(self, backend: str | None) -> str:
        on_device = torch.empty(0, device=self.fabric.device)
        return _dispatch.select(backend, "adaptive_conv", [on_device])

    def _scope(self) -> contextlib.AbstractContextManager[None]:
        """Where the user names a backend, nothing else runs; else each call may choose."""
        name = self.config.backend
        return contextlib.nullcontext() if name is None else adaconv.backend(name)

    def _diverged(self, reason: str) -> TrainingDivergedError:
        kept = self.out / CHECKPOINT
        fate = f"the last good checkpoint is {kept}" if kept.exists() else "nothing was saved yet"
        return TrainingDivergedError(f"step {self.step}: {reason}; {fate}")

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Say of what cannot be written in the ``with`` block where the run stands."""
        try:
            yield
        except OSError as error:
            raise OSError(
                error.errno,
                f"step {self.step} could not be recorded: {error.strerror} ({error.filename}); the "
                f"last checkpoint is {self.out / CHECKPOINT}",
            ) from error

    def _seconds(self) -> float:
        return self._earlier_seconds + time.monotonic() - self._start
