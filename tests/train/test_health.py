"""Where a number that is not finite came from is told, and nothing is spoilt by it."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from adaconv.models import GAN
from adaconv.train import Checkpoint, TrainingDivergedError

NAN, HUGE = float("nan"), 3e38


def fill(place: str, value: float) -> Callable[[GAN], object]:
    return lambda gan: gan.get_parameter(place).data.fill_(value)


def steepen(gan: GAN) -> None:
    """Let the gradient of the last block's result be NaN, and so all that come of it."""

    def look(module: nn.Module, inputs: tuple[Tensor], result: Tensor) -> None:
        if result.requires_grad:
            result.register_hook(lambda slope: slope * NAN)

    gan.generator[3].register_forward_hook(look)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (fill("generator.0.bias", NAN), "loss is nan; the first module is generator.0, whose weig"),
        (
            fill("generator.0.weight", HUGE),
            "loss is nan; the first module is generator.0, whose re",
        ),
        (
            fill("generator.3.pointwise_bias", NAN),
            "loss is nan; the first module is generator.3, whose weights are not finite",
        ),
        (steepen, "gradient is nan; the first is that of generator.3."),
    ],
    ids=["weights", "result", "block", "gradient"],
)
def test_the_first_module_is_named(trainer, spoil, message):
    run = trainer(steps=8, checkpoint_every=3)

    def hook(side: str, count: int) -> None:
        if (side, count) == ("generator", 3):
            spoil(run.gan)

    run.gan.hook = hook
    with pytest.raises(TrainingDivergedError, match=f"^step 5: .*{message}"):
        run.run()
    kept = Checkpoint.load(run.out / "checkpoint.safetensors")
    assert kept.step == 3
    assert all(value.isfinite().all() for value in kept.networks.values())


def test_a_model_that_is_spoilt_from_the_start(trainer):
    run = trainer()
    fill("generator.0.bias", NAN)(run.gan)
    with pytest.raises(TrainingDivergedError, match=r"^step 0: generator\.0\.bias .*; nothing was"):
        run.run()
    assert list(run.out.iterdir()) == []


def test_spoilt_data_are_told_from_spoilt_weights(trainer):
    run = trainer()
    real = torch.full((6, 3, 8, 8), NAN)
    with pytest.raises(TrainingDivergedError, match=r"is discriminator\.0, whose input is not fin"):
        run.updates.turn(("discriminator",), 6, real)
