"""How a GAN is computed: on which device, in which precision and layout, compiled or not."""

import importlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import nn

from adaconv.data import TensorData
from adaconv.data._extra import extra
from adaconv.models import GAN
from adaconv.models._tricks import GradientPenalty
from adaconv.train.config import TrainConfig

if TYPE_CHECKING:  # an optional package
    from lightning_fabric import Fabric


def start(config: TrainConfig) -> "Fabric":
    """Return the device and the precision of a run.

    Raises:
        ValueError: the device does not compute in the precision.
        ModuleNotFoundError: a package that training needs is missing.
    """
    with extra("training"):
        from lightning_fabric import Fabric
        from lightning_fabric.plugins import MixedPrecision

        importlib.import_module("safetensors.torch")  # needed when there is something to save
    if config.precision != "16-mixed":
        return Fabric(accelerator=config.accelerator, devices=1, precision=config.precision)
    if config.accelerator not in ("auto", "cuda") or not torch.cuda.is_available():
        raise ValueError(
            f"precision 16-mixed needs a CUDA GPU, got accelerator={config.accelerator!r} and "
            f"{torch.cuda.device_count()} of them: expected 32-true, or bf16-mixed, which any runs"
        )
    unscaled = torch.amp.GradScaler("cuda", enabled=False)  # each side has its own, see Updates
    precision = MixedPrecision("16-mixed", "cuda", unscaled)
    return Fabric(accelerator="cuda", devices=1, plugins=precision)


def accelerate(gan: GAN, dataset: TensorData, config: TrainConfig, batch_size: int) -> None:
    """Lay the weights out and compile the networks, as the settings ask for.

    Raises:
        ValueError: the model cannot be trained so.
    """
    _check(gan, dataset, config, batch_size)
    if config.channels_last:
        for layer in gan.modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                for weight in (p for p in layer.parameters() if p.dim() == 4):
                    weight.data = weight.data.to(memory_format=torch.channels_last)
    if config.compile:
        for network in _compilable(gan):
            network.compile()


def _check(gan: GAN, dataset: TensorData, config: TrainConfig, batch_size: int) -> None:
    if config.channels_last and len(dataset.item_shape) != 3:
        raise ValueError(
            f"channels_last is a layout of images, got items of shape {dataset.item_shape}"
        )
    if config.compile and (
        gan.consensus or any(isinstance(t, GradientPenalty) for t in gan.tricks)
    ):
        raise ValueError(
            f"the losses of {gan.name} have gradients in them, which compiled networks cannot "
            "differentiate: train it without compile"
        )
    if gan.consensus and config.precision == "16-mixed":
        raise ValueError(
            "consensus optimisation differentiates gradients, whose scale 16-mixed does not know: "
            "use bf16-mixed"
        )
    if gan.consensus and config.accumulate > 1:
        raise ValueError(
            "consensus optimisation needs all of a batch at once: accumulate must be 1, "
            f"got {config.accumulate}"
        )
    if batch_size % config.accumulate:
        raise ValueError(
            f"accumulate must divide the batch of {batch_size}, got {config.accumulate}"
        )


def _compilable(gan: GAN) -> Iterator[nn.Module]:
    """The networks; of the discriminator its parts, as the last one's inputs are looked at."""
    for name, network in gan.named_children():
        if network is gan.discriminator:
            yield from (part for key, part in network.named_children() if key != "head")
        elif name != "tricks":
            yield network
