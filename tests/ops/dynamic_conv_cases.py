"""Random calls of dynamic convolution that the tests share."""

import random
from dataclasses import dataclass, field

import torch
from conv_contract import results as results
from torch import Tensor

from adaconv import dynamic_conv2d

#: Outputs of the CPU backend, as ``--perturb`` names them.
OUTPUTS = ("forward.0", "input_gradient.0", "weight_gradient.0")


@dataclass
class Case:
    """Shapes and options of one call; ``filters`` are S, ``channels`` those of a group."""

    batch: int = 2
    channels: int = 3
    filters: int = 4
    size: tuple[int, int] = (7, 9)
    kernel_size: tuple[int, int] = (3, 3)
    groups: int = 1
    with_b: bool = True
    options: dict = field(default_factory=dict)

    def tensors(self, make, dtype=torch.float64) -> list[Tensor | None]:
        """Return x, w, b, filled by ``make(*shape)``."""
        output = self.output_size()
        x = make(self.batch, self.channels * self.groups, *self.size)
        w = make(self.batch, self.filters, self.channels, *self.kernel_size, *output)
        b = make(self.batch, max(self.filters, self.groups), *output) if self.with_b else None
        return [None if t is None else t.to(dtype) for t in (x, w, b)]

    def output_size(self) -> tuple[int, int]:
        conv = torch.nn.functional.conv2d(
            torch.zeros(1, 1, *self.size), torch.zeros(1, 1, *self.kernel_size), **self.options
        )
        return conv.shape[2], conv.shape[3]

    def call(self, tensors, backend) -> Tensor:
        return dynamic_conv2d(*tensors, groups=self.groups, backend=backend, **self.options)


def random_case(seed: int) -> Case:
    """Draw everything the operator takes: even, non-square, strided, dilated, grouped, shared."""
    rng = random.Random(seed)
    groups, filters = rng.choice(
        [(1, 1), (1, 5), (2, 2), (3, 6), (2, 8), (6, 6), (6, 1), (6, 3), (40, 2), (7, 1)]
    )
    return Case(
        batch=rng.randint(1, 3),
        channels=rng.choice([1, 1, 2, 3, 7]),
        filters=filters,
        size=(rng.randint(9, 20), rng.randint(10, 40)),
        kernel_size=(rng.randint(1, 5), rng.randint(1, 4)),
        groups=groups,
        with_b=rng.random() < 0.7,
        options={
            "stride": (rng.randint(1, 3), rng.randint(1, 2)),
            "padding": (rng.randint(0, 3), rng.randint(0, 3)),
            "dilation": (rng.randint(1, 2), rng.randint(1, 3)),
        },
    )
