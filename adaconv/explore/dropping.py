"""Filters of a generator, switched off: what does it forget to draw?"""

import contextlib
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from adaconv.explore.sheet import Row
from adaconv.models import GAN
from adaconv.train import sample
from adaconv.train.sampling import evaluating

#: Share of a layer's filters that is dropped where none are named.
SHARE = 0.25


def feature_maps(
    network: nn.Module, inputs: Tensor, kinds: tuple[type[nn.Module], ...] = (nn.ReLU,)
) -> list[Tensor]:
    """Return the outputs (N, C, H, W) of the activations, in the order in which they are computed.

    Args:
        network: any module.
        inputs: what it is given.
        kinds: modules whose outputs count, if they are maps.
    """
    found: list[Tensor] = []

    def keep(module: nn.Module, given: object, output: Tensor) -> None:
        if output.dim() == 4:
            found.append(output)

    handles = [m.register_forward_hook(keep) for m in network.modules() if isinstance(m, kinds)]
    try:
        network(inputs)
    finally:
        for handle in handles:
            handle.remove()
    return found


@contextlib.contextmanager
def drop_filters(generator: nn.Module, layer: int, filters: Sequence[int]) -> Iterator[None]:
    """Inside the ``with`` block, the maps of some filters are 0 behind their ReLU.

    Args:
        generator: its activations are ReLU modules.
        layer: number of the ReLU among those whose output is (N, C, H, W), from 0.
        filters: numbers of its channels.
    """
    number = -1

    def switch_off(module: nn.Module, given: object, output: Tensor) -> Tensor | None:
        nonlocal number
        if output.dim() != 4:
            return None
        number += 1
        if number != layer:
            return None
        output = output.clone()
        output[:, list(filters)] = 0
        return output

    def restart(module: nn.Module, given: object) -> None:
        nonlocal number
        number = -1

    handles = [generator.register_forward_pre_hook(restart)]
    handles += [
        m.register_forward_hook(switch_off) for m in generator.modules() if isinstance(m, nn.ReLU)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def dropping(
    gan: GAN, latent: Tensor, layer: int = 1, filters: Sequence[int] | None = None
) -> list[Row]:
    """Show samples as they are, without chosen filters, and without as many others.

    Args:
        gan: the model.
        latent: latents of the samples, (N, L).
        layer: number of the generator's layer, see :func:`drop_filters`.
        filters: what is dropped; by default the quarter that is most active on average.

    Raises:
        ValueError: there is no such layer, or no such filter.

    Source: Radford et al., "Unsupervised Representation Learning with Deep Convolutional Generative
    Adversarial Networks", 2016, section 6.3.2 and figure 6, where a regression on the activations
    in and around windows chooses the filters.
    """
    with evaluating(gan.generator), torch.no_grad():
        maps = feature_maps(gan.generator, latent)
    if not 0 <= layer < len(maps):
        raise ValueError(f"the generator has layers 0 to {len(maps) - 1}, got layer {layer}")
    activity = maps[layer].mean((0, 2, 3))
    order = activity.argsort(descending=True).tolist()
    if filters is None:
        filters = order[: max(1, round(SHARE * len(order)))]
    if not filters or not 0 <= min(filters) <= max(filters) < len(order):
        raise ValueError(f"layer {layer} has filters 0 to {len(order) - 1}, got {list(filters)}")
    others = [index for index in order if index not in filters][-len(filters) :]
    rows = [Row("as they are", sample(gan, latent))]
    for name, dropped in (("chosen", filters), ("least active", others)):
        if dropped:
            with drop_filters(gan.generator, layer, dropped):
                rows.append(Row(f"without {len(dropped)} {name}\nfilters", sample(gan, latent)))
    return rows
