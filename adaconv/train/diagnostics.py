"""Signs of the known failures of adversarial training, looked for as it goes on."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from adaconv.data import PointData, TensorData
from adaconv.metrics import diversity, mode_coverage
from adaconv.models import GAN
from adaconv.train.sampling import sample

#: Samples that are drawn to be measured: images, points.
IMAGES, POINTS = 64, 512


@dataclass(frozen=True)
class Sign:
    """What is wrong where the measure of an interval is beyond a limit."""

    measure: str
    above: bool
    limit: float
    message: str
    """Has the measure filled in."""

    def shows(self, row: Mapping[str, float]) -> bool:
        """Whether the measures ``row`` have it."""
        value = row.get(self.measure, self.limit)
        return value > self.limit if self.above else value < self.limit


SIGNS = (
    Sign("diversity", False, 0.2, "collapse: samples differ {:.3f} times as much as the data"),
    Sign(
        "discriminator_saturation", True, 0.95,
        "saturation: the discriminator's loss is flat for {:.1%} of the samples",
    ),
    Sign(
        "generator_saturation", True, 0.95,
        "vanishing gradient: the generator's loss is flat for {:.1%} of its samples",
    ),
    Sign("generator_gradient", False, 1e-6, "vanishing gradient: the generator's has norm {:.1e}"),
)  # fmt: skip


class Diagnostics:
    """Measures samples against the data, and reads signs of failure from all that was measured.

    What is measured: ``diversity`` (:func:`adaconv.metrics.diversity`) and, where the data are a
    mixture of Gaussians, ``modes`` and ``quality`` (:func:`adaconv.metrics.mode_coverage`), always
    of the same latents. PyTorch's random state is neither used nor changed.

    Args:
        gan: the model.
        dataset: what it learns.
        seed: seed of the latents.
    """

    def __init__(self, gan: GAN, dataset: TensorData, seed: int) -> None:
        self.gan, self.dataset = gan, dataset
        count = POINTS if isinstance(dataset, PointData) else IMAGES
        self.latent = gan.latent(count, generator=torch.Generator().manual_seed(seed))
        step = max(1, len(dataset) // count)  # from all over a set that may be sorted
        self.real = dataset.__getitems__(range(0, len(dataset), step)[:count])
        self._shown: set[Sign] = set()

    def measure(self) -> dict[str, float]:
        """Return the measures of the model as it is."""
        samples = sample(self.gan, self.latent).float().cpu()
        found: dict[str, float] = {}
        if (self.real != self.real[0]).any():  # or there is nothing to compare with
            found["diversity"] = diversity(samples, self.real)
        if isinstance(self.dataset, PointData) and self.dataset.centers is not None:
            coverage = mode_coverage(samples, self.dataset.centers, self.dataset.sigma)
            found |= {"modes": coverage.modes, "quality": coverage.quality}
        return found

    def warnings(self, row: Mapping[str, float]) -> list[str]:
        """Return the :data:`SIGNS` in the measures of an interval that were not in the last."""
        shown = {sign for sign in SIGNS if sign.shows(row)}
        new = [sign for sign in SIGNS if sign in shown - self._shown]
        self._shown = shown
        return [sign.message.format(row[sign.measure]) for sign in new]
