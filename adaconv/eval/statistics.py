"""What the scores need of a set of images, gathered in one pass."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from adaconv.eval.extractors import Extractor

#: The Inception score is that of each of ten groups.
GROUPS = 10
#: Images whose features are kept as they are; of the others there are only sums.
KEPT = 5000


@dataclass
class Statistics:
    """Sums over the features f and the class probabilities p of a set of n images.

    Their memory does not depend on n. Image i is in fold ``i * folds // n`` and in group
    ``i * GROUPS // n``.

    Attributes:
        counts: images in each fold, (folds,).
        sums: Σ f of each fold, (folds, d).
        products: Σ f fᵀ of each fold, (folds, d, d).
        group_counts: images in each group, (GROUPS,).
        probabilities: Σ p of each group, (GROUPS, c).
        information: Σ p log p of each group, (GROUPS,).
        kept: features of the first images, (min(n, KEPT), d).
    """

    counts: Tensor
    sums: Tensor
    products: Tensor
    group_counts: Tensor
    probabilities: Tensor
    information: Tensor
    kept: Tensor

    @classmethod
    def empty(cls, n: int, features: int, classes: int, folds: int = 1) -> "Statistics":
        """Return the statistics of no image, with room for ``n``."""
        double = torch.float64
        return cls(
            counts=torch.zeros(folds, dtype=torch.int64),
            sums=torch.zeros(folds, features, dtype=double),
            products=torch.zeros(folds, features, features, dtype=double),
            group_counts=torch.zeros(GROUPS, dtype=torch.int64),
            probabilities=torch.zeros(GROUPS, classes, dtype=double),
            information=torch.zeros(GROUPS, dtype=double),
            kept=torch.zeros(min(n, KEPT), features),
        )

    @property
    def n(self) -> int:
        """Number of images."""
        return int(self.counts.sum())

    @property
    def num_features(self) -> int:
        """Length of a feature vector."""
        return self.sums.shape[1]

    def add(self, start: int, n: int, features: Tensor, logits: Tensor) -> None:
        """Add the images ``start``, ``start + 1``, ... of ``n``."""
        index = torch.arange(start, start + len(features))
        kept = self.kept[start : start + len(features)]
        kept.copy_(features[: len(kept)])
        features = features.double()
        fold = index * len(self.counts) // n
        self.counts += fold.bincount(minlength=len(self.counts))
        self.sums.index_add_(0, fold, features)
        for i in fold.unique().tolist():
            rows = features[fold == i]
            self.products[i].addmm_(rows.T, rows)
        log_p = logits.double().log_softmax(1)
        p = log_p.exp()
        group = index * GROUPS // n
        self.group_counts += group.bincount(minlength=GROUPS)
        self.probabilities.index_add_(0, group, p)
        self.information.index_add_(0, group, torch.xlogy(p, p).sum(1))


@torch.no_grad()
def gather(
    batches: Iterable[Tensor], n: int, extractor: Extractor, *, folds: int = 1
) -> Statistics:
    """Gather the statistics of ``n`` images.

    Args:
        batches: uint8 (N, 3, S, S) each, ``n`` images in all, in an order that means nothing.
        n: number of images.
        extractor: the feature network; it is used as it is in evaluation, on its own device.
        folds: parts of the set with sums of their own, d² numbers each.

    Raises:
        ValueError: there are more or fewer images.
    """
    extractor.eval()
    device = next((t.device for t in extractor.state_dict().values()), torch.device("cpu"))
    found = Statistics.empty(n, extractor.num_features, extractor.num_classes, folds)
    seen = 0
    for images in batches:
        if seen + len(images) > n:
            raise ValueError(f"expected {n} images, got more")
        features, logits = extractor(images.to(device))
        found.add(seen, n, features.cpu(), logits.cpu())
        seen += len(images)
    if seen != n:
        raise ValueError(f"expected {n} images, got {seen}")
    return found
