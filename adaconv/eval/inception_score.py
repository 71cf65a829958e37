"""The Inception score."""

import torch

from adaconv.eval._score import Score
from adaconv.eval.statistics import GROUPS, Statistics


def inception_score(real: Statistics, fake: Statistics, seed: int = 0) -> list[Score]:
    """Return ``exp(E_i Σ_c p_ic log(p_ic / mean_j p_jc))``, mean and deviation of ten groups.

    From running sums, since ``E_i Σ_c p_ic log mean_j p_jc`` needs the mean alone; equal to
    torchmetrics' InceptionScore, which keeps all logits.

    Args:
        real: without effect.
        fake: statistics of the generated images.
        seed: without effect; nothing is drawn.

    Source: Salimans et al., "Improved Techniques for Training GANs", 2016; ten groups as in
    Nguyen & Ray, "Generative Adversarial Networks using Adaptive Convolution", 2018, section 5.
    """
    count = fake.group_counts.double()
    mean = fake.probabilities / count[:, None]
    scores = (fake.information / count - torch.xlogy(mean, mean).sum(1)).exp()
    protocol = f"mean and deviation of {GROUPS} groups of {fake.n / GROUPS:g} images"
    std = scores.std().item()
    return [Score("IS", scores.mean().item(), std, GROUPS, protocol, _notes(fake))]


def _notes(fake: Statistics) -> tuple[str, ...]:
    most, classes = fake.n // GROUPS, fake.probabilities.shape[1]
    if most >= classes:
        return ()
    return (
        f"no group of {most} images can score above {most}, of {classes} classes: IS can be "
        f"compared at this n alone",
    )
