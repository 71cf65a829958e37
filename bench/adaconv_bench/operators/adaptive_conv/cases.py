"""Adaptive convolution in the layers of AdaGAN's generator, and the whole generator."""

import copy
import functools
from dataclasses import dataclass

import torch
from torch import Tensor

import adaconv
import adaconv.models
from adaconv_bench.registry import Problem

TAPS = (3, 3)


@dataclass(frozen=True)
class Layer:
    """The operator alone, at the shape of one adaptive layer: 3x3, padding 1, D = C."""

    name: str
    channels: int
    out_channels: int
    size: int
    exact: bool = True
    gradient_slack: float = 0.0

    @property
    def title(self) -> str:
        """Channels and picture size."""
        return f"{self.channels}→{self.out_channels} @{self.size}²"

    def flops(self, batch: int) -> float:
        """Those of the weight regression: 2·N·OH·OW·O·C·kh·kw·D."""
        weights = self.out_channels * self.channels * TAPS[0] * TAPS[1]
        return 2.0 * batch * self.size**2 * weights * self.channels

    def problem(self, batch: int, dtype: torch.dtype, *, integers: bool = False) -> Problem:
        """Draw the inputs of the layer.

        The features and the regression lie on a coarse grid, its bias between the grid's points:
        every pre-activation is then exact and none is 0. Were they arbitrary, two orders of
        summation would put some on different sides of the ReLU, and one such flip outweighs all
        rounding errors. With ``integers``, every value is a small integer: all sums are exact and
        ties at 0 are frequent.
        """
        rng = torch.Generator().manual_seed(0)

        def whole(limit: int, *shape: int) -> Tensor:
            return torch.randint(-limit, limit + 1, shape, generator=rng).to(dtype)

        def real(*shape: int) -> Tensor:
            return torch.randn(shape, generator=rng).to(dtype)

        draw = functools.partial(whole, 2) if integers else real
        pixels, taps = (self.size, self.size), (self.out_channels, self.channels, *TAPS)
        x, b, cotangent = (
            draw(batch, channels, *pixels)
            for channels in (self.channels, self.out_channels, self.out_channels)
        )
        d, P = whole(4, batch, self.channels, *pixels), whole(8, *taps, self.channels)
        q = whole(64, *taps)
        if integers:
            d, P = d.sign(), P.sign()
        else:
            d, P, q = d / 4, P / 128, (q + 0.5) / 512
        leaves = {"x": x, "d": d, "P": P, "q": q, "b": b}
        for leaf in leaves.values():
            leaf.requires_grad_()
        return Problem(lambda: adaconv.adaptive_conv2d(x, d, P, q, b, padding=1), leaves, cotangent)


@dataclass(frozen=True)
class Network:
    """AdaGAN's complete generator, batch normalisation and all, as it is trained."""

    name: str
    model: str
    image_size: int
    layers: tuple[Layer, ...]
    width: float = 1.0
    exact: bool = False
    # One activation in 1e7 lies within rounding of 0. Where it falls to the other side, its whole
    # contribution to the gradients appears or disappears: sqrt(1e-7) of their norm, more after the
    # normalisation of a small batch.
    gradient_slack: float = 5e-3

    @property
    def title(self) -> str:
        """Model and picture size."""
        return f"{self.model} @{self.image_size}²"

    def flops(self, batch: int) -> float:
        """Those of its adaptive layers' weight regressions, 97 % of the whole."""
        return sum(layer.flops(batch) for layer in self.layers)

    def problem(self, batch: int, dtype: torch.dtype, *, integers: bool = False) -> Problem:
        """Draw the network and its latent."""
        if integers:
            raise ValueError("a network with batch normalisation has no problem in integers")
        gan = _initialised(self.model, self.image_size, self.width)
        rng = torch.Generator().manual_seed(0)
        latent = gan.latent(batch, generator=rng).to(dtype)
        shape = (batch, 3, self.image_size, self.image_size)
        cotangent = torch.randn(shape, generator=rng).to(dtype)
        generator = copy.deepcopy(gan.generator).to(dtype).train()
        leaves = {"latent": latent.requires_grad_(), **dict(generator.named_parameters())}
        return Problem(lambda: generator(latent), leaves, cotangent)


@functools.cache
def _initialised(model: str, image_size: int, width: float) -> adaconv.models.GAN:
    """Return the model as it is initialised under a fixed seed; to be copied, not changed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return adaconv.models.create(model, image_size=image_size, width=width)
