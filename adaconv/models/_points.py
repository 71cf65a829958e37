"""Networks for points of the plane."""

from itertools import pairwise

from torch import Tensor, nn

from adaconv.models._layers import check_shape, check_width, scaled

#: Units of each hidden layer.
HIDDEN = (512, 512, 512)
#: Latents of a point.
LATENT_SIZE = 2


class PointGenerator(nn.Module):
    """Latents (N, 2) → points (N, 2), through three hidden layers of 512 ReLUs.

    Source: the toy problems of Gulrajani et al., "Improved Training of Wasserstein GANs", 2017, in
    the authors' code: dense layers with He's initialisation and biases of 0.
    """

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()
        self.layers = _dense(LATENT_SIZE, width, 2)

    def forward(self, latent: Tensor) -> Tensor:
        """Map latents (N, 2) to points (N, 2)."""
        check_shape("latent", latent, LATENT_SIZE)
        return self.layers(latent)


class PointDiscriminator(nn.Module):
    """Points (N, 2) → logits (N,), the mirror image of :class:`PointGenerator`."""

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()
        *layers, self.head = _dense(2, width, 1)
        self.layers = nn.Sequential(*layers)

    def forward(self, points: Tensor) -> Tensor:
        """Map points (N, 2) to logits (N,)."""
        check_shape("points", points, 2)
        return self.head(self.layers(points)).squeeze(1)


def _dense(inputs: int, width: float, outputs: int) -> nn.Sequential:
    check_width(width)
    sizes = [inputs, *(scaled(units, width) for units in HIDDEN), outputs]
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layer = nn.Linear(before, after)
        nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1])
