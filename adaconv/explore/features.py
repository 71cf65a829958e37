"""What a discriminator's filters look for, by guided backpropagation."""

import copy
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from adaconv import models
from adaconv.data import TensorData
from adaconv.explore.dropping import feature_maps
from adaconv.explore.sheet import Row
from adaconv.models import GAN

#: Images that are searched for what excites a filter.
SEARCHED = 256
#: The activations that are guided.
RECTIFIERS = (nn.ReLU, nn.LeakyReLU)


class _Guided(torch.autograd.Function):
    """An activation whose gradient passes where both it and the input are positive."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, slope: float) -> Tensor:
        ctx.save_for_backward(x)
        return torch.where(x > 0, x, slope * x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (x,), (gradient,) = ctx.saved_tensors, gradients
        return gradient.clamp(min=0) * (x > 0), None


class _GuidedActivation(nn.Module):
    def __init__(self, slope: float) -> None:
        super().__init__()
        self.slope = slope

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, _Guided.apply(x, self.slope))


def _guided(network: nn.Module) -> nn.Module:
    """Return a copy of the network in evaluation mode, its activations guided."""
    network = copy.deepcopy(network).eval()
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, RECTIFIERS):
                slope = getattr(child, "negative_slope", 0.0)
                setattr(module, name, _GuidedActivation(slope))
    return network


def guided_gradients(
    network: nn.Module, images: Tensor, filters: Sequence[int], layer: int = -1
) -> tuple[Tensor, Tensor]:
    """Differentiate the greatest activation of a filter in each image, guided.

    The gradient passes an activation only where its input and the gradient itself are positive: of
    the pixels, those that excite the filter are left, without those that inhibit it.

    Args:
        network: maps images to anything; its activations are modules, ReLU or leaky ReLU.
        images: (N, 3, S, S).
        filters: a filter for each image.
        layer: number of the activation whose channels are the filters, among those of
            :func:`adaconv.explore.feature_maps`.

    Returns:
        The gradients, (N, 3, S, S), and the activations, (N,).

    Raises:
        ValueError: the network has no such layer, or the layer no such filter.

    Source: Springenberg et al., "Striving for Simplicity: The All Convolutional Net", 2015,
    section 3.4.
    """
    images = images.detach().clone().requires_grad_()
    with torch.enable_grad():
        activations = _maps(_guided(network), images, layer)
        if max(filters) >= activations.shape[1]:
            raise ValueError(
                f"layer {layer} has filters 0 to {activations.shape[1] - 1}, got {max(filters)}"
            )
        peaks = activations[range(len(images)), list(filters)].flatten(1).amax(1)
        (gradients,) = torch.autograd.grad(peaks.sum(), images)
    return gradients, peaks.detach()


def strongest_features(
    network: nn.Module, images: Tensor, count: int, layer: int = -1
) -> tuple[list[int], list[int]]:
    """Find the filters whose activation differs most between images, and the best image of each.

    Args:
        network: maps images to anything.
        images: (N, 3, S, S).
        count: number of filters, at most as many as there are.
        layer: as in :func:`guided_gradients`.

    Returns:
        The filters, and for each the index of the image that excites it most.
    """
    network = copy.deepcopy(network).eval()
    with torch.no_grad():
        peaks = _maps(network, images, layer).flatten(2).amax(2)  # N, C
    spread = peaks.std(0) / peaks.abs().mean(0).clamp(min=1e-12)
    filters = spread.topk(min(count, len(spread))).indices.tolist()
    return filters, [int(peaks[:, index].argmax()) for index in filters]


def unlearned(gan: GAN, seed: int = 0) -> GAN:
    """Return the same model as it might have started; PyTorch's random state stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return models.create(**gan.config)


def features(gan: GAN, dataset: TensorData, count: int = 8, layer: int = -1) -> list[Row]:
    """Show what excites filters of the trained discriminator, and of one with random filters.

    Three rows for each of the two: the images that excite ``count`` filters most, the guided
    gradient of each filter there, and that gradient on the brightness of the image.

    Args:
        gan: the model.
        dataset: real images.
        count: number of filters.
        layer: number of the activation in the discriminator, the last by default.

    Raises:
        ValueError: the discriminator has no such activation of maps.

    Source: Radford et al., "Unsupervised Representation Learning with Deep Convolutional Generative
    Adversarial Networks", 2016, section 6.3.1 and figure 5.
    """
    step = max(1, len(dataset) // SEARCHED)
    images = dataset.__getitems__(range(0, len(dataset), step)[:SEARCHED])
    rows = []
    for name, model in (("trained", gan), ("random", unlearned(gan))):
        network = model.discriminator.cpu()
        filters, best = strongest_features(network, images, count, layer)
        gradients, _ = guided_gradients(network, images[best], filters, layer)
        captions = [f"filter {index}" for index in filters]
        rows.append(Row(f"{name} filters:\nwhat excites them", images[best]))
        rows.append(Row("guided gradient", _visible(gradients), captions))
    return rows


def _maps(network: nn.Module, images: Tensor, layer: int) -> Tensor:
    maps = feature_maps(network, images, (*RECTIFIERS, _GuidedActivation))
    try:
        return maps[layer]
    except IndexError:
        raise ValueError(
            f"the network has {len(maps)} activations of maps, got layer {layer}"
        ) from None


def _visible(gradients: Tensor) -> Tensor:
    """Gradients as images in [-1, 1]: 0 is grey, each one's greatest value at the edge."""
    return gradients / gradients.abs().amax((1, 2, 3), keepdim=True).clamp(min=1e-12)
