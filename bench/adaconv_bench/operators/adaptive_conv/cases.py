"""The operator at any shape, the block around it, and AdaGAN's whole generator."""

import copy
import functools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

import adaconv
import adaconv.models
from adaconv.nn import AdaConvBlock
from adaconv_bench.registry import Problem


@dataclass(frozen=True)
class Layer:
    """The operator alone; by default at the shape of an adaptive layer: 3x3, padding 1, D = C.

    Attributes:
        name: short name.
        channels: C.
        out_channels: O.
        size: height and width of the picture, or one number for both.
        features: D; ``None`` is C.
        kernel: taps in each direction, an odd number; the padding keeps the picture's size.
        stride: as of a convolution.
        dilation: likewise.
        memory: as of the operator.
    """

    name: str
    channels: int
    out_channels: int
    size: int | tuple[int, int]
    features: int | None = None
    kernel: int = 3
    stride: int = 1
    dilation: int = 1
    memory: str = "mask"
    exact: bool = True
    gradient_slack: float = 0.0

    @property
    def title(self) -> str:
        """Channels, picture size, and whatever is unusual."""
        height, width = self.picture
        size = f"{height}²" if height == width else f"{height}×{width}"
        unusual = {
            "D": (self.features, None), "K": (self.kernel, 3), "stride": (self.stride, 1),
            "dilation": (self.dilation, 1), "memory": (self.memory, "mask"),
        }  # fmt: skip
        notes = [f" {name}={value}" for name, (value, usual) in unusual.items() if value != usual]
        return f"{self.channels}→{self.out_channels} @{size}{''.join(notes)}"

    @property
    def usual(self) -> bool:
        """Whether the baselines, which have no geometry of their own, compute it."""
        return (self.kernel, self.stride, self.dilation) == (3, 1, 1)

    @property
    def picture(self) -> tuple[int, int]:
        """Height and width of x."""
        return (self.size, self.size) if isinstance(self.size, int) else self.size

    @property
    def output(self) -> tuple[int, int]:
        """Height and width of y."""
        height, width = self.picture
        return (height - 1) // self.stride + 1, (width - 1) // self.stride + 1

    @property
    def depth(self) -> int:
        """D, the features that every weight is regressed from."""
        return self.channels if self.features is None else self.features

    @property
    def padding(self) -> int:
        """Zeros around the picture."""
        return self.dilation * (self.kernel - 1) // 2

    def flops(self, batch: int) -> float:
        """Those of the weight regression: 2·N·OH·OW·O·C·kh·kw·D."""
        height, width = self.output
        return self._flops(batch, height * self.kernel, width * self.kernel)

    def used_flops(self, batch: int) -> float:
        """Those of the weights that meet the picture: the taps on its padding are left out."""
        height, width = (self._taps(size) for size in self.picture)
        return self._flops(batch, height, width)

    def _flops(self, batch: int, rows: int, columns: int) -> float:
        """Count, from the number of (position, tap) in each direction."""
        return 2.0 * batch * rows * columns * self.out_channels * self.channels * self.depth

    def _taps(self, size: int) -> int:
        """Count the pairs (position, tap) of one direction that lie within the picture."""
        positions = range(-self.padding, size - self.padding, self.stride)
        taps = [tap * self.dilation for tap in range(self.kernel)]
        return sum(0 <= first + tap < size for first in positions for tap in taps)

    def problem(
        self,
        batch: int,
        dtype: torch.dtype,
        *,
        integers: bool = False,
        values: torch.dtype = torch.float32,
    ) -> Problem:
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

        real = functools.partial(_normal, rng, values, dtype)
        draw = functools.partial(whole, 2) if integers else real
        filters = (self.out_channels, self.channels, self.kernel, self.kernel)
        x = draw(batch, self.channels, *self.picture)
        b, cotangent = (draw(batch, self.out_channels, *self.output) for _ in range(2))
        d, P = whole(4, batch, self.depth, *self.output), whole(8, *filters, self.depth)
        q = whole(64, *filters)
        if integers:
            d, P = d.sign(), P.sign()
        else:
            d, P, q = d / 4, P / 128, (q + 0.5) / 512
        leaves = {"x": x, "d": d, "P": P, "q": q, "b": b}
        for leaf in leaves.values():
            leaf.requires_grad_()

        def call() -> Tensor:
            return adaconv.adaptive_conv2d(
                x, d, P, q, b, stride=self.stride, padding=self.padding, dilation=self.dilation,
                memory=self.memory,
            )  # fmt: skip

        return Problem(call, leaves, cotangent)


@dataclass(frozen=True)
class Penalty(Layer):
    """The layer's gradients of x and d, and the gradients of these: those of a gradient penalty."""

    @property
    def title(self) -> str:
        """That of the layer."""
        return f"{super().title}, gradients"

    def _flops(self, batch: int, rows: int, columns: int) -> float:
        """Count those of the forward pass and of the two gradients, which share a product."""
        return 2 * super()._flops(batch, rows, columns)

    def problem(
        self,
        batch: int,
        dtype: torch.dtype,
        *,
        integers: bool = False,
        values: torch.dtype = torch.float32,
    ) -> Problem:
        """Draw the inputs of the layer and the cotangents of its gradients."""
        layer = super().problem(batch, dtype, integers=integers, values=values)
        rng = torch.Generator().manual_seed(1)
        leaves = {name: leaf for name, leaf in layer.leaves.items() if name != "b"}
        leaves["gy"] = layer.cotangent.requires_grad_()
        inputs = leaves["x"], leaves["d"]
        shape = batch, sum(t[0].numel() for t in inputs)
        cotangent = _normal(rng, values, dtype, *shape)

        def gradients() -> Tensor:
            found = torch.autograd.grad(layer.forward(), inputs, leaves["gy"], create_graph=True)
            return torch.cat([gradient.flatten(1) for gradient in found], 1)

        return Problem(gradients, leaves, cotangent.sign() if integers else cotangent)


@dataclass(frozen=True)
class Block:
    """A block as it stands in a network: the layer, its features and its bias of every pixel.

    Attributes:
        name: short name.
        layer: the layer inside it, whose features are as many as its channels.
        adaptive_kernel: K_adaptive, the window that the features are taken from.
    """

    name: str
    layer: Layer
    adaptive_kernel: int = 3
    exact: bool = False
    # As of a network: an activation within rounding of 0 falls to either side.
    gradient_slack: float = 5e-3

    @property
    def title(self) -> str:
        """That of the layer, and K_adaptive."""
        return f"{self.layer.title} K_adaptive={self.adaptive_kernel}"

    @property
    def usual(self) -> bool:
        """That of the layer."""
        return self.layer.usual

    def flops(self, batch: int) -> float:
        """Those of the weight regression alone."""
        return self.layer.flops(batch)

    def used_flops(self, batch: int) -> float:
        """Those without the taps on padding."""
        return self.layer.used_flops(batch)

    def problem(
        self,
        batch: int,
        dtype: torch.dtype,
        *,
        integers: bool = False,
        values: torch.dtype = torch.float32,
    ) -> Problem:
        """Draw the block and its input."""
        if integers:
            raise ValueError("a block has no problem in integers")
        layer = self.layer
        block = AdaConvBlock(
            layer.channels, layer.out_channels, layer.kernel, stride=layer.stride,
            padding=layer.padding, dilation=layer.dilation,
            adaptive_kernel_size=self.adaptive_kernel, dtype=dtype,
        )  # fmt: skip
        return problem_of(
            block,
            (batch, layer.channels, *layer.picture),
            (batch, layer.out_channels, *layer.output),
            values,
        )


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

    def used_flops(self, batch: int) -> float:
        """Those without the taps on padding."""
        return sum(layer.used_flops(batch) for layer in self.layers)

    def problem(
        self,
        batch: int,
        dtype: torch.dtype,
        *,
        integers: bool = False,
        values: torch.dtype = torch.float32,
    ) -> Problem:
        """Draw the network and its latent."""
        if integers:
            raise ValueError("a network with batch normalisation has no problem in integers")
        gan = _initialised(self.model, self.image_size, self.width)
        rng = torch.Generator().manual_seed(0)
        latent = gan.latent(batch, generator=rng).to(values).to(dtype)
        cotangent = _normal(rng, values, dtype, batch, 3, self.image_size, self.image_size)
        generator = copy.deepcopy(gan.generator).to(values).to(dtype).train()
        leaves = {"latent": latent.requires_grad_(), **dict(generator.named_parameters())}
        return Problem(lambda: generator(latent), leaves, cotangent)


def problem_of(
    module: nn.Module, shape: Sequence[int], output_shape: Sequence[int], values: torch.dtype
) -> Problem:
    """Draw the parameters of a module, such that its results are about 1, and its input."""
    rng, dtype = torch.Generator().manual_seed(0), next(module.parameters()).dtype
    real = functools.partial(_normal, rng, values, dtype)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(real(*parameter.shape) / parameter[0].numel() ** 0.5)
            parameter.copy_(parameter.to(values))
    x = real(*shape).requires_grad_()
    leaves = {"x": x, **dict(module.named_parameters())}
    return Problem(lambda: module(x), leaves, real(*output_shape))


def _normal(rng: torch.Generator, values: torch.dtype, dtype: torch.dtype, *shape: int) -> Tensor:
    """Draw numbers that ``values`` can represent, in ``dtype``."""
    return torch.randn(shape, generator=rng).to(values).to(dtype)


@functools.cache
def _initialised(model: str, image_size: int, width: float) -> adaconv.models.GAN:
    """Return the model as it is initialised under a fixed seed; to be copied, not changed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return adaconv.models.create(model, image_size=image_size, width=width)
