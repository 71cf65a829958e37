"""The discriminator of SNGAN."""

from torch import Tensor, nn

from adaconv.models._layers import check_image_size, check_width, initialize, scaled
from adaconv.nn import spectral_norm, spectral_norm_

#: Channels after each convolution: the published table's, and those of the authors' code.
CHANNELS = {
    "narrow": (64, 64, 128, 128, 256, 256, 512),
    "wide": (64, 128, 128, 256, 256, 512, 512),
}
#: (kernel size, stride) of each convolution; the padding is 1.
WINDOWS = ((3, 1), (4, 2), (3, 1), (4, 2), (3, 1), (4, 2), (3, 1))


class SNGANDiscriminator(nn.Module):
    """Images (N, 3, S, S) in [-1, 1] → logits (N,), every layer's spectral norm held at 1.

    ======================  ============  ==========
    layer                   output        wide
    ======================  ============  ==========
    3×3 convolution         64 × S²       64
    4×4 convolution, /2     64 × (S/2)²   128
    3×3 convolution         128 × (S/2)²  128
    4×4 convolution, /2     128 × (S/4)²  256
    3×3 convolution         256 × (S/4)²  256
    4×4 convolution, /2     256 × (S/8)²  512
    3×3 convolution         512 × (S/8)²  512
    dense                   1
    ======================  ============  ==========

    A leaky ReLU of slope 0.1 follows each convolution. Each forward pass in training mode makes one
    step of power iteration, of all layers in one call.

    Args:
        image_size: S, a multiple of 8.
        width: factor on the channels.
        wide: take the channels of the right column.

    Raises:
        TypeError, ValueError: an argument is out of range.

    Source: Miyato et al., "Spectral Normalization for Generative Adversarial Networks", 2018, table
    3.

    Deviations: the published table has the narrow channels, published code the wide ones; both are
    here. Weights start from N(0, 0.02²) truncated at two deviations, as AdaGAN's do, and as
    PyTorch's, the spectral norm makes 15 steps of power iteration at the start where one would do.
    """

    def __init__(self, image_size: int = 32, width: float = 1.0, *, wide: bool = False) -> None:
        super().__init__()
        check_image_size(image_size, 8)
        check_width(width)
        self.image_size = image_size
        channels = [scaled(c, width) for c in CHANNELS["wide" if wide else "narrow"]]
        layers: list[nn.Module] = []
        for before, after, (size, stride) in zip([3, *channels], channels, WINDOWS, strict=False):
            convolution = nn.Conv2d(before, after, size, stride, padding=1)
            layers += [spectral_norm(initialize(convolution)), nn.LeakyReLU(0.1, inplace=True)]
        self.features = nn.Sequential(*layers)
        self.dense = spectral_norm(initialize(nn.Linear(channels[-1] * (image_size // 8) ** 2, 1)))
        spectral_norm_(self)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (N, 3, S, S) to logits (N,)."""
        size = self.image_size
        if images.dim() != 4 or images.shape[1:] != (3, size, size):
            raise ValueError(
                f"images must have shape (N, 3, {size}, {size}), got {tuple(images.shape)}"
            )
        return self.dense(self.features(images).flatten(1)).squeeze(1)
