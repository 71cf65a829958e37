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


def small_case(seed):
    """Draw what the operator takes, in few pixels."""
    rng = random.Random(seed)
    kernel, dilation = (
        (rng.randint(1, 3), rng.randint(1, 3)),
        (rng.randint(1, 2), rng.randint(1, 2)),
    )
    padding = rng.randint(0, 2), rng.randint(0, 2)
    least = [(k - 1) * d + 1 - 2 * p for k, d, p in zip(kernel, dilation, padding, strict=True)]
    factor, groups = rng.choice([1, 1, 1, 2, 3]), rng.choice([1, 1, 1, 2, 3])
    return Case(
        batch=rng.randint(1, 3),
        channels=rng.choice([1, 2, 3, 5]) * groups,
        outputs=rng.choice([1, 2, 3, 7]) * groups,
        size=tuple(-(-max(1, extent) // factor) + rng.randint(0, 5) for extent in least),
        kernel_size=kernel,
        features=rng.choice([1, 3, 8, 16, 17, 40]),
        groups=groups,
        with_q1=rng.random() < 0.7,
        with_q2=rng.random() < 0.7,
        with_b=rng.random() < 0.7,
        options={
            "stride": (rng.randint(1, 3), rng.randint(1, 2)),
            "padding": padding,
            "dilation": dilation,
            "negative_slope": rng.choice([0.0, 0.0, 0.5, 1.0]),
            "upsample": factor,
        },
    )


#: Few pixels each; tiles of channels, of features and of pixels, and what is left of them.
SMALL = [small_case(seed) for seed in range(32)] + [
    Case(size=(1, 1), kernel_size=(1, 1)),
    Case(size=(1, 1), options={"padding": 1}),
    Case(size=(3, 3), kernel_size=(1, 1), options={"padding": 2}),
    Case(batch=3, size=(5, 5), channels=4, outputs=3, features=16, options={"padding": 1}),
    Case(batch=1, size=(5, 27), channels=2, outputs=3, features=12, options={"padding": 1}),
    Case(batch=1, size=(2, 3), channels=66, outputs=2, features=4, kernel_size=(1, 2)),
    Case(batch=1, size=(2, 3), channels=2, outputs=3, features=140, kernel_size=(2, 1)),
    Case(batch=1, size=(2, 3), channels=2, outputs=3, kernel_size=(3, 3),
         options={"upsample": 3, "padding": 1}),
]  # fmt: skip
