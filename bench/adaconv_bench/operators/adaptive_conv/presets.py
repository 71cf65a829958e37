"""The sets of shapes."""

from adaconv_bench.operators.adaptive_conv.cases import Layer, Network
from adaconv_bench.registry import Preset


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
