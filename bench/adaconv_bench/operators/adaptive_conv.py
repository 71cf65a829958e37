"""Adaptive convolution in the layers of AdaGAN's generator, and the whole generator."""

import contextlib
import copy
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

import adaconv
import adaconv.models
import adaconv.reference.adaptive_conv as reference
from adaconv_bench import baselines
from adaconv_bench.registry import Preset, Problem, Provider

Formula = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]

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


def _adagan(description: str, image_size: int, batch: int) -> Preset:
    layers = tuple(
        Layer(f"L{index + 1}", channels, out_channels, image_size // scale)
        for index, (channels, out_channels, scale) in enumerate(
            [(128, 64, 4), (64, 32, 2), (32, 16, 1), (16, 3, 1)]
        )
    )
    network = Network("generator", "adagan-3x3", image_size, layers)
    return Preset(description, batch, (*layers, network))


PRESETS = {
    "adagan-cifar10": _adagan("AdaGAN-3x3 at the size of CIFAR-10", 32, 64),
    "adagan-stl10": _adagan("AdaGAN-3x3 at the size of STL-10", 48, 64),
    "quick": _adagan("AdaGAN-3x3 at the size of CIFAR-10, two pictures at a time", 32, 2),
}


@contextlib.contextmanager
def standing_in(formula: Formula, *, compiled: bool = False) -> Iterator[None]:
    """Compute the operator by a formula of :mod:`adaconv_bench.baselines`, wherever it is called.

    The formula takes the place of the reference backend, so that layers and whole networks run it
    through the same public function, with the same checks, as every other provider.
    """
    compute = _as_reference(_compiled(formula) if compiled else formula)
    specification, reference.adaptive_conv2d = reference.adaptive_conv2d, compute
    try:
        with adaconv.backend("reference"):
            yield
    finally:
        reference.adaptive_conv2d = specification


def _as_reference(formula: Formula) -> Callable[..., Tensor]:
    def compute(x, d, P, q, b, stride, padding, dilation, groups, negative_slope, upsample):
        geometry = tuple(P.shape[2:4]), tuple(stride), tuple(padding), tuple(dilation), groups
        if geometry != (TAPS, (1, 1), (1, 1), (1, 1), 1) or negative_slope != 0 or q is None:
            raise ValueError(
                "the baselines compute 3x3 kernels with stride, padding and dilation 1, one group, "
                f"ReLU and a bias q; got {geometry}, negative_slope={negative_slope}, "
                f"{'no q' if q is None else 'a q'}"
            )
        y = formula(reference.enlarge(x, upsample), d, P.flatten(0, 3), q.flatten())
        return y if b is None else y + b

    return compute


@functools.cache
def _compiled(formula: Formula) -> Formula:
    # One kernel per shape, as someone who trains at one shape has; beyond the default limit of
    # 8 shapes torch.compile would silently run eagerly.
    torch._dynamo.config.recompile_limit = 64
    return torch.compile(formula, dynamic=False)


FORMULAS: dict[str, Formula] = {
    "": baselines.rows,  # the best eager formulation known
    "-mulsum": baselines.mulsum,
    "-conv": baselines.conv,
}

#: glibc keeps freed memory instead of returning it to the kernel, so that the temporaries of later
#: steps cause no page faults.
KEEP_HEAP = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(1 << 40),
    "MALLOC_TOP_PAD_": str(1 << 28),
}


def _providers() -> Iterator[Provider]:
    for suffix, formula in FORMULAS.items():
        eager = functools.partial(standing_in, formula)
        compiled = functools.partial(standing_in, formula, compiled=True)
        yield Provider(f"eager{suffix}", eager)
        yield Provider(f"eager{suffix}-tuned", eager, environment=KEEP_HEAP)
        yield Provider(f"compile{suffix}", compiled, has_memory=False)


PROVIDERS = {provider.name: provider for provider in _providers()}
YARDSTICK = "eager"
