"""Which kernels the steps of a training run spend their time in."""

import copy
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from adaconv.data import Batch, LabelledData, TensorData
from adaconv.data._extra import extra
from adaconv.models import GAN
from adaconv.train.updates import Updates

#: Kernels that are named; what the others take is added up.
NAMED = 12
OURS = "adaconv"


@dataclass(frozen=True)
class Kernel:
    """An operator, called any number of times."""

    name: str
    calls: float
    """In a step."""
    share: float
    """Of the time that all operators take themselves, those that they call left out."""

    @property
    def ours(self) -> bool:
        """Whether it is one of this library's."""
        return OURS in self.name


@dataclass(frozen=True)
class Profile:
    """Steps of training, looked into."""

    kernels: list[Kernel]
    """The longest first; the last one may be a sum."""
    ours: float
    """The share of all of this library's kernels."""
    steps: int
    batch_size: int
    seconds: float
    """Of a step, the profiler's own time included."""
    device: str


def measure(
    gan: GAN, dataset: TensorData, steps: int, *, batch_size: int, n_dis: int, seed: int = 0
) -> Profile:
    """Do some more training steps with a copy of a model under PyTorch's profiler.

    They are computed in single precision on the GPU, or where there is none on the CPU. One more
    step goes before them, which is not looked at.

    Args:
        gan: the model, which stays as it is.
        dataset: what it learns.
        steps: number of steps, at least 1.
        batch_size: images of an update.
        n_dis: updates of the discriminator in a step.
        seed: decides which images it sees.

    Raises:
        ValueError: ``steps`` is not positive.
    """
    if steps < 1:
        raise ValueError(f"there must be a step at least, got {steps}")
    with extra("looking into steps"):
        from lightning_fabric import Fabric
    fabric = Fabric(accelerator="auto", devices=1)
    gan = copy.deepcopy(gan).train()
    gan.prepare(dataset)
    updates = Updates(fabric, gan)
    batches = _batches(gan, dataset, batch_size, seed)
    on_gpu = fabric.device.type == "cuda"
    activities = [ProfilerActivity.CPU, ProfilerActivity.CUDA][: 1 + on_gpu]

    def step() -> None:
        for sides in gan.turns(n_dis):
            learns = gan.data_sides.intersection(sides)
            updates.turn(sides, batch_size, fabric.to_device(next(batches)) if learns else None)

    step()
    with profile(activities=activities, acc_events=True) as profiler:
        start = time.perf_counter()
        for _ in range(steps):
            step()
        updates.synchronize()
        seconds = (time.perf_counter() - start) / steps
    attribute = "self_device_time_total" if on_gpu else "self_cpu_time_total"
    spent = [
        (event.key, event.count / steps, getattr(event, attribute))
        for event in profiler.key_averages()
        if event.device_type == DeviceType.CPU  # an operator: it has the time of what it launches
    ]
    total = sum(time for *_, time in spent) or 1.0
    kernels = [Kernel(name, calls, time / total) for name, calls, time in spent if time > 0]
    ours = sum(kernel.share for kernel in kernels if kernel.ours)
    return Profile(_longest(kernels), ours, steps, batch_size, seconds, fabric.device.type)


def _batches(gan: GAN, dataset: TensorData, batch_size: int, seed: int) -> Iterator[Batch]:
    """Yield items of the data, drawn with replacement, without end."""
    items = LabelledData(dataset) if gan.labelled else dataset
    generator = torch.Generator().manual_seed(seed)
    while True:
        drawn = torch.randint(len(items), (batch_size,), generator=generator)
        yield items.__getitems__(drawn.tolist())


def _longest(kernels: list[Kernel]) -> list[Kernel]:
    """The kernels that take longest, and the sum of the others."""
    kernels = sorted(kernels, key=lambda kernel: kernel.share, reverse=True)
    named, others = kernels[:NAMED], kernels[NAMED:]
    if others:
        calls, share = sum(k.calls for k in others), sum(k.share for k in others)
        named.append(Kernel(f"{len(others)} others", calls, share))
    return named
