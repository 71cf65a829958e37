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


def small_case(seed):
    """Draw what the operator takes, in few pixels."""
    rng = random.Random(seed)
    groups, filters = rng.choice(
        [(1, 1), (1, 5), (2, 2), (3, 6), (2, 4), (6, 6), (6, 1), (6, 3), (10, 1)]
    )
    kernel = rng.randint(1, 4), rng.randint(1, 3)
    dilation = rng.randint(1, 2), rng.randint(1, 2)
    padding = rng.randint(0, 2), rng.randint(0, 2)
    least = [(k - 1) * d + 1 - 2 * p for k, d, p in zip(kernel, dilation, padding, strict=True)]
    return Case(
        batch=rng.randint(1, 3),
        channels=rng.choice([1, 1, 2, 3]),
        filters=filters,
        size=tuple(max(1, extent) + rng.randint(0, 4) for extent in least),
        kernel_size=kernel,
        groups=groups,
        with_b=rng.random() < 0.7,
        options={
            "stride": (rng.randint(1, 3), rng.randint(1, 2)),
            "padding": padding,
            "dilation": dilation,
        },
    )


#: Few pixels each; tiles of rows, of taps and of pixels, and what is left of them.
SMALL = [small_case(seed) for seed in range(36)] + [
    Case(size=(1, 1), kernel_size=(1, 1)),
    Case(size=(1, 1), options={"padding": 1}),
    Case(size=(3, 3), kernel_size=(1, 1), options={"padding": 2}),
    Case(size=(2, 2), kernel_size=(5, 5), options={"padding": 4, "dilation": 2}),
    Case(batch=1, size=(5, 27), channels=1, filters=1, options={"padding": 1}),
    Case(batch=1, size=(5, 27), channels=1, filters=9, groups=9, options={"padding": 1}),
    Case(batch=1, size=(3, 4), channels=9, filters=10, options={"padding": 1}),
    Case(batch=1, size=(4, 4), channels=2, filters=2, groups=18, options={"padding": 1}),
]
