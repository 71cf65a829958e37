"""A feature network that takes microseconds, a GAN as small, and pictures for both."""

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from adaconv import data, models
from adaconv.eval import Extractor, Statistics
from adaconv.models import GAN

SIZE = 8


class Projection(Extractor):
    """Projects the pixels on a few random directions."""

    def __init__(self, features: int = 4, classes: int = 5) -> None:
        super().__init__("projection@8", "as they are", features, classes)
        drawn = torch.randn(
            features + classes, 3 * SIZE**2, generator=torch.Generator().manual_seed(0)
        )
        self.register_buffer("matrix", drawn.double() / 10)
        #: Images that were looked at.
        self.seen = 0

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        assert images.dtype == torch.uint8
        self.seen += len(images)
        found = (images.flatten(1).double() / 127.5 - 1) @ self.matrix.T
        return found[:, : self.num_features], found[:, self.num_features :]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def projection() -> Projection:
    return Projection()


@pytest.fixture
def pictures() -> data.ImageData:
    noise = torch.Generator().manual_seed(1)
    values = torch.randint(256, (130, 3, SIZE, SIZE), dtype=torch.uint8, generator=noise)
    return data.ImageData(name="pictures", split="train", licence="none", values=values)


@pytest.fixture
def gan() -> GAN:
    torch.manual_seed(0)
    return models.create("baseline", image_size=SIZE, width=0.05)


@pytest.fixture
def statistics() -> Callable[..., Statistics]:
    """Makes statistics of features (n, d), and of logits, given as they are."""

    def make(features: Tensor, logits: Tensor | None = None, folds: int = 1) -> Statistics:
        n, d = features.shape
        logits = torch.zeros(n, 2) if logits is None else logits
        found = Statistics.empty(n, d, logits.shape[1], folds)
        found.add(0, n, features, logits)
        return found

    return make
