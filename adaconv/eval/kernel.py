"""The kernel distance of features (KID)."""

import warnings

import torch

from adaconv.eval._score import Score
from adaconv.eval.frechet import Given
from adaconv.eval.statistics import Statistics

SUBSETS = 100
SUBSET_SIZE = 1000


def kernel(real: Statistics, fake: Statistics, seed: int = 0) -> list[Score]:
    """Return the unbiased ``MMD²`` for the kernel ``k(f, g) = (f·g / d + 1)³``, of torchmetrics.

    Mean and deviation of 100 subsets, which are drawn from the kept features: 1000 of each set, or
    half of them where there are fewer than 2000, so that subsets differ.

    Args:
        real: statistics of the real images.
        fake: of the generated images.
        seed: draws the subsets.

    Source: Bińkowski et al., "Demystifying MMD GANs", 2018.
    """
    from torchmetrics.image.kid import KernelInceptionDistance

    pool = min(len(real.kept), len(fake.kept))
    size = min(SUBSET_SIZE, pool // 2)
    with warnings.catch_warnings():  # that all features are kept: these are few
        warnings.filterwarnings(
            "ignore", "Metric `Kernel Inception Distance` will save", UserWarning
        )
        metric = KernelInceptionDistance(
            Given(real.num_features), subsets=SUBSETS, subset_size=size
        )
    metric.update(real.kept, real=True)
    metric.update(fake.kept, real=False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        mean, std = metric.compute()
    protocol = (
        f"mean and deviation of {SUBSETS} subsets of {size} of the first "
        f"{len(real.kept)} and {len(fake.kept)} images"
    )
    return [Score("KID", mean.item(), std.item(), SUBSETS, protocol)]
