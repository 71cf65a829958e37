"""Training steps of two providers, side by side: the same model, data and randomness."""

import contextlib
import copy
import functools
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from adaconv import data, models
from adaconv.data._extra import extra
from adaconv.models import GAN
from adaconv.train.comparison import Step, timed_step
from adaconv.train.random import random_state, set_random_state
from adaconv.train.updates import Updates
from adaconv_bench import agreement
from adaconv_bench.gate import Verdict
from adaconv_bench.processes import peak_of
from adaconv_bench.registry import Provider
from adaconv_bench.replay import Notes, adaptive_blocks, noting, replay
from adaconv_bench.timing import Budget, Samples, interleave

#: Direction of the samples: the discriminator's updates and the generator's, both with Adam.
STEP = "training step"

DATA = "twemoji"  # comes with an installed package
SEED = 0
CPU = torch.device("cpu")

#: Images of a step of the trial between formulations; the larger batch takes proportionally longer.
TRIAL_BATCH = 8


@dataclass(frozen=True)
class Course:
    """What is trained, and for how long; picklable.

    Attributes:
        model: name of the model.
        image_size: height and width of the images in pixels.
        width: factor on the model's channels.
        batch: images per update.
        threads: threads that torch computes with.
        budget: how many steps are timed.
        warm_up: steps before those.
    """

    model: str
    image_size: int
    width: float
    batch: int
    threads: int
    budget: Budget
    warm_up: int = 1


class Contestant:
    """A copy of the model that is trained as one provider computes.

    Args:
        provider: who computes adaptive convolution.
        gan: the model; it is copied.
        dataset: the images.
        batch: images per update.

    Attributes:
        steps: all steps so far.
        notes: what the generator's blocks did in the first step, by their names.
        memory: peak of the first step above what was there before, gradients and the optimisers'
            state included, in MiB; ``None`` where it cannot be told.
    """

    def __init__(self, provider: Provider, gan: GAN, dataset: data.TensorData, batch: int) -> None:
        with extra("training"):
            from lightning_fabric import Fabric
        self.provider = provider
        self.gan = copy.deepcopy(gan)
        self.updates = Updates(Fabric(accelerator="cpu", devices=1), self.gan)
        self.steps: list[Step] = []
        self.notes: dict[str, Notes] = {}
        self.memory: float | None = None
        self._stream = data.loader(dataset, batch, seed=SEED)
        self._random = torch.Generator().manual_seed(SEED).get_state()

    def turn(self) -> Mapping[str, float]:
        """Train one step; what is random in it is the same for every contestant."""
        batches = [next(self._stream) for _ in range(self.gan.n_dis)]
        with torch.random.fork_rng(devices=[]), self.provider.active():
            set_random_state(CPU, {"cpu": self._random})
            if self.steps:
                self._step(batches)
            else:
                with noting(self.gan.generator) as self.notes:
                    peak = peak_of(lambda: self._step(batches))
                # an allocator that keeps its memory would hide what is allocated anew
                self.memory = None if self.provider.environment else peak
            self._random = random_state(CPU)["cpu"]
        return {STEP: self.steps[-1].seconds}

    def _step(self, batches: Sequence[Tensor]) -> None:
        self.steps.append(timed_step(self.updates, batches))


@dataclass(frozen=True)
class Match:
    """What was found, by the names of the two providers; ours comes first.

    Attributes:
        samples: seconds of each timed step.
        steps: all steps, those that were not timed included.
        memory: peaks in MiB.
        verdict: whether both trained alike.
        trial: seconds of each formulation in the trial that chose the second provider.
    """

    samples: Samples
    steps: Mapping[str, Sequence[Step]]
    memory: Mapping[str, float | None]
    verdict: Verdict
    trial: Mapping[str, float] = field(default_factory=dict)


def run_match(course: Course, ours: Provider, others: Sequence[Provider]) -> Match:
    """Train with adaconv and with the fastest of ``others``, in turns.

    Args:
        course: what is trained.
        ours: the provider under test.
        others: formulations of the same environment to choose from.
    """
    gan = new_gan(course.model, course.image_size, course.width)
    dataset = data.load(DATA, image_size=course.image_size)
    with _threads(course.threads):
        trial = _trial(gan, others, course.batch) if len(others) > 1 else {}
        other = min(others, key=lambda provider: trial.get(provider.name, 0.0))
        for provider in (ours, other):  # loads the libraries' code
            Contestant(provider, gan, dataset, min(course.batch, 2)).turn()
        a, b = (Contestant(provider, gan, dataset, course.batch) for provider in (ours, other))
        turns = {c.provider.name: c.turn for c in (a, b)}
        samples = interleave(turns, course.budget, warm_up=course.warm_up)
        twin = Contestant(ours, _moved(gan), dataset, course.batch)
        for _ in range(agreement.STEPS):
            twin.turn()
        verdict = agreement.compare_losses(a.steps, b.steps, twin.steps)
        verdict = _replayed(gan, ours, b.notes) | verdict
    return Match(
        samples,
        {c.provider.name: c.steps for c in (a, b)},
        {c.provider.name: c.memory for c in (a, b)},
        verdict,
        trial,
    )


def _moved(gan: GAN) -> GAN:
    """Return a copy whose weights differ in their last places."""
    twin = copy.deepcopy(gan)
    noise = torch.Generator().manual_seed(SEED)
    with torch.no_grad():
        for parameter in twin.parameters():
            offset = 2 * torch.rand(parameter.shape, generator=noise) - 1
            parameter.mul_(1 + agreement.MOVED * offset)
    return twin


def _replayed(gan: GAN, ours: Provider, notes: Mapping[str, Notes]) -> Verdict:
    """Compare what the provider makes of the notes of another's first step with what they say."""
    verdict = Verdict()
    for name, block in adaptive_blocks(gan.generator).items():
        with ours.active():
            found = replay(block, notes[name])
        verdict |= agreement.compare_block(name, found, notes[name].results)
    return verdict


def new_gan(model: str, image_size: int, width: float) -> GAN:
    """Return the model, initialised under the seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        return models.create(model, image_size=image_size, width=width)


def _trial(gan: GAN, providers: Sequence[Provider], batch: int) -> dict[str, float]:
    """Return the seconds of the generator's forward and backward pass, the better of two each."""
    generator = copy.deepcopy(gan.generator)
    latent = gan.latent(min(batch, TRIAL_BATCH), generator=torch.Generator().manual_seed(SEED))

    def turn(provider: Provider) -> Mapping[str, float]:
        with provider.active():
            start = time.perf_counter()
            generator(latent).sum().backward()
            return {STEP: time.perf_counter() - start}

    turns = {p.name: functools.partial(turn, p) for p in providers}
    samples = interleave(turns, Budget(repeats=2))
    return {name: min(found[STEP]) for name, found in samples.items()}


@contextlib.contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
