"""The sets of shapes: AdaGAN's, and a sweep over what a shape can be."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import astuple, replace

from adaconv_bench.operators.adaptive_conv.cases import Block, Layer, Network, Penalty
from adaconv_bench.registry import Case, Place, Preset

#: Products that a call of a sweep makes, about: 20 to 60 milliseconds of two threads.
PRODUCTS = 2e9

#: What a weight costs beside its regression, in products: without it, cases of few features would
#: regress so many weights that comparing them with plain PyTorch took gigabytes.
EPILOGUE = 16

#: Samples per call of a sweep at most.
MOST = 512

CHANNELS = (1, 2, 3, 4, 8, 16, 32, 64, 128, 256, 512)


def _layers(image_size: int) -> tuple[Layer, ...]:
    return tuple(
        Layer(f"L{index + 1}", channels, out_channels, image_size // scale)
        for index, (channels, out_channels, scale) in enumerate(
            [(128, 64, 4), (64, 32, 2), (32, 16, 1), (16, 3, 1)]
        )
    )


def _adagan(description: str, image_size: int, batch: int) -> Preset:
    layers = _layers(image_size)
    network = Network("generator", "adagan-3x3", image_size, layers)
    return Preset(description, batch, (*layers, network))


TUNED = _layers(32)


def nearest(layer: Layer) -> Layer:
    """Return the tuned layer with the nearest D and O: the fewest doublings from one to the other.

    These two decide how the kernel spends its time: D is the length of its sums, O how often a
    patch is used.
    """

    def doublings(tuned: Layer) -> float:
        return abs(math.log2(layer.depth / tuned.depth)) + abs(
            math.log2(layer.out_channels / tuned.out_channels)
        )

    return min(TUNED, key=doublings)


def sized(layer: Layer) -> int:
    """Return the samples per call that make it as much work as any other of the sweep."""
    one = layer.flops(1) / 2 * (1 + EPILOGUE / layer.depth)
    return min(max(round(PRODUCTS / one), 1), MOST)


def _varied() -> Iterator[tuple[str, str, Layer]]:
    """Yield dimension, value and layer, each of 32 channels at 16x16 but for what is varied."""
    base = Layer("", 32, 32, 16)
    for kernel in (1, 3, 5, 7):
        yield "K_filter", str(kernel), replace(base, kernel=kernel)
    for stride, dilation in itertools.product((1, 2), repeat=2):
        yield (
            "stride, dilation", f"{stride}, {dilation}",
            replace(base, stride=stride, dilation=dilation),
        )  # fmt: skip
    for count in CHANNELS:
        yield "C_in = D", str(count), replace(base, channels=count)
    for count in CHANNELS:
        yield "C_out", str(count), replace(base, out_channels=count)
    for count in CHANNELS:
        yield "D", str(count), replace(base, features=count)
    for size in ((4, 4), (7, 7), (13, 17), (16, 16), (33, 33), (48, 48), (64, 64)):
        yield "picture", f"{size[0]}×{size[1]}", replace(base, size=size)


def _sweep() -> Preset:
    batch = 64
    cases: list[Case] = []
    places: dict[str, Place] = {}

    def add(dimension: str, value: str, layer: Layer, samples: int, case: Case) -> None:
        cases.append(case)
        places[case.name] = Place(dimension, value, samples, nearest(layer))

    for tuned in TUNED:
        add("tuned", tuned.name, tuned, batch, tuned)
    for dimension, value, layer in _varied():
        named = replace(layer, name=f"{dimension}: {value}")
        add(dimension, value, named, sized(named), named)
    inner = Layer("", 32, 32, 16)
    for window in (1, 3, 5, 7):
        block = Block(f"block, K_adaptive: {window}", inner, window)
        add("block, K_adaptive", str(window), inner, sized(inner), block)
    one = [*TUNED, Layer("", 64, 32, 48), Layer("", 32, 32, 96)]
    for layer in one:
        named = replace(layer, name=f"batch 1: {layer.title}")
        add("batch 1", layer.title, named, 1, named)
    description = "one thing varied at a time, each call about the same number of operations"
    return Preset(description, batch, tuple(cases), places)


PENALTIES = tuple(Penalty(*astuple(layer)) for layer in TUNED)

PRESETS = {
    "adagan-cifar10": _adagan("AdaGAN-3x3 at the size of CIFAR-10", 32, 64),
    "adagan-stl10": _adagan("AdaGAN-3x3 at the size of STL-10", 48, 64),
    "quick": _adagan("AdaGAN-3x3 at the size of CIFAR-10, two pictures at a time", 32, 2),
    "second-order": Preset(
        "AdaGAN-3x3's layers under a gradient penalty, at the size of CIFAR-10",
        16,
        PENALTIES,
    ),
    "penalty": Preset("the third of these", 16, PENALTIES[2:3]),
    "recompute": Preset(
        "AdaGAN-3x3's layers without sign bits in memory, at the size of CIFAR-10",
        64,
        tuple(replace(layer, memory="recompute") for layer in TUNED),
    ),
    "sweep": _sweep(),
}

#: What stands for this operator in `adaconv bench all`.
SUITE = {"quick": (), "penalty": ()}

#: AdaGAN's layers, one of several blocks of features and tiles of outputs, and one whose sign bits
#: are made anew.
STATIC = (
    *TUNED,
    Layer("blocks", 32, 150, 8, features=256),
    replace(TUNED[0], name="anew", memory="recompute"),
)
