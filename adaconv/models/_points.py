"""Networks for points of the plane."""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from adaconv.models._layers import check_shape, check_width, scaled

#: Units of each hidden layer.
HIDDEN = (128, 128, 128)
#: Latents of a point.
LATENT_SIZE = 2


class PointGenerator(nn.Module):
    """Latents (N, latent_size) → points (N, 2), through hidden layers of ReLUs.

    Args:
        width: factor on the units of the hidden layers.
        hidden: their units.
        latent_size: number of latents.

    Source: the toy problems of Gulrajani et al., "Improved Training of Wasserstein GANs", 2017, in
    the authors' code: three hidden layers, He's initialisation and biases of 0. There they have 512
    units; with 128 a step takes a sixteenth of the work, and minutes suffice on a CPU.
    """

    def __init__(
        self,
        width: float = 1.0,
        *,
        hidden: Sequence[int] = HIDDEN,
        latent_size: int = LATENT_SIZE,
    ) -> None:
        super().__init__()
        self.latent_size = latent_size
        self.layers = _dense(latent_size, hidden, width, 2)

    def forward(self, latent: Tensor) -> Tensor:
        """Map latents (N, latent_size) to points (N, 2)."""
        check_shape("latent", latent, self.latent_size)
        return self.layers(latent)


class PointDiscriminator(nn.Module):
    """Points (N, 2) → logits (N,), the mirror image of :class:`PointGenerator`."""

    def __init__(self, width: float = 1.0, *, hidden: Sequence[int] = HIDDEN) -> None:
        super().__init__()
        *layers, self.head = _dense(2, hidden, width, 1)
        self.layers = nn.Sequential(*layers)

    def forward(self, points: Tensor) -> Tensor:
        """Map points (N, 2) to logits (N,)."""
        check_shape("points", points, 2)
        return self.head(self.layers(points)).squeeze(1)


def _dense(inputs: int, hidden: Sequence[int], width: float, outputs: int) -> nn.Sequential:
    check_width(width)
    sizes = [inputs, *(scaled(units, width) for units in hidden), outputs]
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layer = nn.Linear(before, after)
        nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1])
