"""A GAN so small that a step takes milliseconds, and pictures for it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from rich.console import Console
from torch import Tensor, nn

from adaconv import data
from adaconv.models import GAN
from adaconv.nn import AdaConvBlock
from adaconv.train import TrainConfig, Trainer

SIZE, LATENT = 8, 4


class TinyGAN(GAN):
    """One adaptive convolution against one dense layer; its dropout draws random numbers."""

    batch_size = 6

    def __init__(self, **options: object) -> None:
        generator = nn.Sequential(
            nn.Linear(LATENT, 3 * SIZE**2),
            nn.Unflatten(1, (3, SIZE, SIZE)),
            nn.BatchNorm2d(3),
            AdaConvBlock(3, 3, 3, padding=1),
            nn.Tanh(),
        )
        discriminator = nn.Sequential(
            nn.Flatten(), nn.Dropout(0.5), nn.Linear(3 * SIZE**2, 1), nn.Flatten(0)
        )
        config = {"name": "tiny", "image_size": SIZE, "loss": "non-saturating", **options}
        super().__init__(generator, discriminator, config, LATENT)
        #: Names and values of the losses in the order in which they were computed.
        self.calls: list[tuple[str, float]] = []
        #: Real batches in the order in which they came.
        self.seen: list[Tensor] = []
        #: Called with the name of the loss and the number of earlier calls for it.
        self.hook: Callable[[str, int], None] = lambda name, count: None

    def discriminator_loss(self, real: Tensor, latent: Tensor) -> Tensor:
        assert real.shape[0] == latent.shape[0]
        self.seen.append(real.clone())
        return self._noted("discriminator", super().discriminator_loss(real, latent))

    def generator_loss(self, latent: Tensor) -> Tensor:
        return self._noted("generator", super().generator_loss(latent))

    def _noted(self, name: str, loss: Tensor) -> Tensor:
        self.hook(name, sum(called == name for called, _ in self.calls))
        self.calls.append((name, loss.item()))
        return loss


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def pictures() -> data.ImageData:
    values = torch.randint(
        256, (20, 3, SIZE, SIZE), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
    )
    return data.ImageData(name="pictures", split="train", licence="none", values=values)


@pytest.fixture
def tiny() -> Callable[..., TinyGAN]:
    """Makes the same GAN each time."""

    def make(**options: object) -> TinyGAN:
        torch.manual_seed(0)
        return TinyGAN(**options)

    return make


@pytest.fixture
def trainer(tiny, pictures, tmp_path: Path) -> Callable[..., Trainer]:
    """Makes trainers of equal GANs; keyword arguments are settings."""

    def make(out: str = "run", gan: GAN | None = None, **settings) -> Trainer:
        config = TrainConfig(**{"steps": 4, "samples": 4, "backend": "reference", **settings})
        quiet = Console(quiet=True)
        return Trainer(gan or tiny(), pictures, tmp_path / out, config, console=quiet)

    return make
