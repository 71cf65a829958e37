"""Random calls of adaptive convolution that the tests share."""

import random
from dataclasses import dataclass, field

import torch
from conv_contract import results as results
from torch import Tensor

from adaconv import adaptive_conv2d

#: Outputs of the CPU backend, as ``--perturb`` names them: y; gx, gd, gP, gq.
OUTPUTS = ("forward.0", "backward.0", "backward.1", "backward.2", "backward.3")


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
    with_q: bool = True
    with_b: bool = True
    options: dict = field(default_factory=dict)

    def tensors(self, make, dtype=torch.float64) -> list[Tensor | None]:
        """Return x, d, P, q, b, filled by ``make(*shape)``."""
        x = make(self.batch, self.channels * self.groups, *self.size)
        weights = (self.outputs * self.groups, self.channels, *self.kernel_size)
        oh, ow = self.output_size()
        return [
            None if t is None else t.to(dtype)
            for t in (
                x,
                make(self.batch, self.features, oh, ow),
                make(*weights, self.features),
                make(*weights) if self.with_q else None,
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
        return adaptive_conv2d(
            *tensors, groups=self.groups, backend=backend, **self.options, **more
        )


def random_case(seed: int) -> Case:
    """Draw everything the operator takes: even, non-square, strided, dilated, grouped, ragged."""
    rng = random.Random(seed)
    case = Case(
        batch=rng.randint(1, 3),
        channels=rng.choice([1, 2, 3, 7, 16]),
        outputs=rng.choice([1, 2, 3, 7]),
        size=(rng.randint(9, 20), rng.randint(10, 40)),
        kernel_size=(rng.randint(1, 5), rng.randint(1, 4)),
        features=rng.choice([1, 2, 3, 8, 17, 33, 40]),
        groups=rng.choice([1, 1, 2, 3]),
        with_q=rng.random() < 0.7,
        with_b=rng.random() < 0.7,
        options={
            "stride": (rng.randint(1, 3), rng.randint(1, 2)),
            "padding": (rng.randint(0, 3), rng.randint(0, 3)),
            "dilation": (rng.randint(1, 2), rng.randint(1, 3)),
            "negative_slope": rng.choice([0.0, 0.0, 0.5, 1.0]),
        },
    )
    factor = rng.choice([1, 1, 2, 3])
    case.options["upsample"] = factor
    case.size = (-(-case.size[0] // factor), -(-case.size[1] // factor))
    return case


def small_case(seed):
    """Draw what the operator takes, in few pixels: where kernels are emulated, each step counts."""
    rng = random.Random(seed)
    kernel, dilation = (
        (rng.randint(1, 4), rng.randint(1, 3)),
        (rng.randint(1, 2), rng.randint(1, 2)),
    )
    padding = rng.randint(0, 2), rng.randint(0, 2)
    least = [(k - 1) * d + 1 - 2 * p for k, d, p in zip(kernel, dilation, padding, strict=True)]
    factor = rng.choice([1, 1, 1, 2, 3])
    return Case(
        batch=rng.randint(1, 3),
        channels=rng.choice([1, 2, 3, 3]),
        outputs=rng.choice([1, 2, 3, 4, 7, 16]),
        size=tuple(-(-max(1, extent) // factor) + rng.randint(0, 5) for extent in least),
        kernel_size=kernel,
        features=rng.choice([1, 3, 8, 16, 17, 40]),
        groups=rng.choice([1, 1, 1, 2, 3]),
        with_q=rng.random() < 0.7,
        with_b=rng.random() < 0.7,
        options={
            "stride": (rng.randint(1, 3), rng.randint(1, 2)),
            "padding": padding,
            "dilation": dilation,
            "negative_slope": rng.choice([0.0, 0.0, 0.5, 1.0]),
            "upsample": factor,
        },
    )


SMALL_CASES = [small_case(seed) for seed in range(36)] + [
    Case(size=(1, 1), kernel_size=(1, 1), options={}),
    Case(size=(1, 1), options={"padding": 1}),
    Case(size=(3, 3), kernel_size=(1, 1), options={"padding": 2}),
    Case(batch=3, size=(8, 8), channels=4, outputs=3, features=16, options={"padding": 1}),
    Case(batch=1, size=(5, 26), channels=2, outputs=3, features=12, options={"padding": 1}),
    Case(size=(4, 4), channels=2, outputs=64, features=128, options={"padding": 1}),
    Case(size=(3, 4), channels=1, outputs=70, features=20, kernel_size=(2, 2)),
    Case(size=(3, 4), channels=1, outputs=150, features=20, kernel_size=(2, 2)),
    Case(size=(3, 4), channels=2, outputs=5, features=140, kernel_size=(2, 2)),
    Case(batch=1, size=(3, 4), channels=1, outputs=130, features=200, kernel_size=(1, 2), groups=2),
]
