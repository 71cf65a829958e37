"""Random calls of separable adaptive convolution that the tests share."""

import random
from dataclasses import dataclass, field

import torch
from adaptive_conv_cases import random_case as random_convolution
from conv_contract import results as results
from torch import Tensor

from adaconv import adaptive_separable_conv2d

#: Outputs of the CPU backend, as ``--perturb`` names them: y; gx, gd, gP1, gq1, gP2, gq2.
OUTPUTS = ("forward.0", *(f"backward.{place}" for place in range(6)))


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
    with_q1: bool = True
    with_q2: bool = True
    with_b: bool = True
    options: dict = field(default_factory=dict)

    def tensors(self, make, dtype=torch.float64) -> list[Tensor | None]:
        """Return x, d, P1, q1, P2, q2, b, filled by ``make(*shape)``."""
        filters, mixture = (
            (self.channels, *self.kernel_size),
            (self.outputs, self.channels // self.groups),
        )
        oh, ow = self.output_size()
        return [
            None if t is None else t.to(dtype)
            for t in (
                make(self.batch, self.channels, *self.size),
                make(self.batch, self.features, oh, ow),
                make(*filters, self.features),
                make(*filters) if self.with_q1 else None,
                make(*mixture, self.features),
                make(*mixture) if self.with_q2 else None,
                make(self.batch, self.outputs, oh, ow) if self.with_b else None,
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
        return adaptive_separable_conv2d(
            *tensors, groups=self.groups, backend=backend, **self.options, **more
        )


def random_case(seed: int) -> Case:
    """Draw everything the operator takes: even, non-square, strided, dilated, enlarged, ragged."""
    rng, like = random.Random(seed), random_convolution(seed)
    return Case(
        batch=like.batch,
        channels=like.channels * like.groups,
        outputs=rng.choice([1, 2, 3, 7, 16]) * like.groups,
        size=like.size,
        kernel_size=like.kernel_size,
        features=like.features,
        groups=like.groups,
        with_q1=like.with_q,
        with_q2=rng.random() < 0.7,
        with_b=like.with_b,
        options=like.options,
    )
