"""Random calls of local adaptive convolution that the tests share."""

import random
from dataclasses import dataclass, field

import torch
from adaptive_conv_cases import random_case as random_convolution
from conv_contract import results as results
from torch import Tensor

from adaconv import local_adaptive_conv2d

#: Outputs of the CPU backend, as ``--perturb`` names them: y; gx, gd, gP, gq, ga.
OUTPUTS = ("forward.0", *(f"backward.{place}" for place in range(5)))


@dataclass
class Case:
    """Shapes and options of one call."""

    batch: int = 2
    channels: int = 3
    outputs: int = 4
    size: tuple[int, int] = (7, 9)
    kernel_size: tuple[int, int] = (3, 3)
    features: int = 5
    groups: int = 1
    neighbours: int = 4
    pitch: int = 4
    with_q: bool = True
    with_b: bool = True
    options: dict = field(default_factory=dict)

    def tensors(self, make, dtype=torch.float64) -> list[Tensor | None]:
        """Return x, d, P, q, a, b, filled by ``make(*shape)``."""
        weights = (self.outputs * self.groups, self.channels, *self.kernel_size)
        oh, ow = self.output_size()
        return [
            None if t is None else t.to(dtype)
            for t in (
                make(self.batch, self.channels * self.groups, *self.size),
                make(self.batch, self.features, -(-oh // self.pitch), -(-ow // self.pitch)),
                make(*weights, self.features),
                make(*weights) if self.with_q else None,
                make(self.batch, self.neighbours, oh, ow),
                make(self.batch, weights[0], oh, ow) if self.with_b else None,
            )
        ]

    def output_size(self) -> tuple[int, int]:
        factor = self.options.get("upsample", 1)
        conv = torch.nn.functional.conv2d(
            torch.zeros(1, 1, *(factor * extent for extent in self.size)),
            torch.zeros(1, 1, *self.kernel_size),
            **{k: v for k, v in self.options.items() if k in ("stride", "padding", "dilation")},
        )
        return conv.shape[2], conv.shape[3]

    def call(self, tensors, backend, **more) -> Tensor:
        return local_adaptive_conv2d(
            *tensors, self.pitch, groups=self.groups, backend=backend, **self.options, **more
        )


def depthwise(channels: int, **options) -> Case:
    """Return a call in which every channel is convolved by itself."""
    return Case(channels=1, outputs=1, groups=channels, **options)


def random_case(seed: int) -> Case:
    """Draw everything the operator takes: even, non-square, strided, dilated, enlarged, ragged."""
    rng, like = random.Random(seed), random_convolution(seed)
    return Case(
        batch=like.batch,
        channels=min(like.channels, 7),
        outputs=rng.choice([1, 2, 3, 7, 16]),
        size=(max(like.size[0] // 2, 5), max(like.size[1] // 2, 5)),
        kernel_size=(min(like.kernel_size[0], 3), min(like.kernel_size[1], 3)),
        features=like.features,
        groups=like.groups,
        neighbours=rng.choice([4, 9]),
        pitch=rng.choice([1, 2, 3, 4, 5, 8, 30]),
        with_q=like.with_q,
        with_b=like.with_b,
        options=like.options,
    )
