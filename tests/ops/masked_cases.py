"""Calls that notice a mask which is missing: few pixels, and an edge of everything."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from adaptive_conv_cases import Case as Adaptive
from adaptive_separable_cases import Case as Separable
from dynamic_conv_cases import Case as Dynamic
from local_adaptive_cases import Case as Local
from minibatch_discrimination_cases import Samples
from spectral_norm_cases import Weights


@dataclass(frozen=True)
class Operator:
    """An operator whose kernels are held to their memory.

    The interpreter takes milliseconds for a step of a program, whatever its size: tiles are small,
    so that few pixels, features and outputs have all that tiles have, a whole one and a rest.

    Attributes:
        cases: calls, the quickest to notice first.
        files: those of its kernels whose masks are removed.
        tile: what stands otherwise in its kernels' configurations.
        settings: what stands otherwise in the module of its launches.
        split: places of the cases that are computed in numbers of float16 as well, with values
            that are not finite.
    """

    cases: tuple
    files: tuple[str, ...]
    tile: Mapping[str, int] = field(default_factory=dict)
    settings: Mapping[str, int] = field(default_factory=dict)
    split: tuple[int, ...] = ()


ENLARGED = {"padding": (1, 1), "stride": (2, 2), "upsample": 2, "negative_slope": 0.5}

OPERATORS = {
    "adaptive_conv": Operator(
        (
            Adaptive(1, 1, 3, (3, 2), (2, 2), 5, options=ENLARGED),
            Adaptive(1, 1, 3, (3, 2), (2, 2), 5, groups=2),
            Adaptive(1, 1, 35, (1, 3), (1, 1), 20, options={"padding": (1, 0)}),
        ),
        ("adaptive_conv_kernels.py", "_products.py"),
        tile={"pixels": 4, "columns": 32, "features": 16},
        split=(0,),
    ),
    "adaptive_separable": Operator(
        (
            Separable(1, 3, 1, (3, 2), (2, 2), 3, options=ENLARGED),
            Separable(1, 17, 1, (1, 3), (1, 1), 20),
        ),
        ("adaptive_separable_kernels.py",),
        tile={"pixels": 4, "columns": 16, "features": 16},
        split=(0,),
    ),
    "dynamic_conv": Operator(
        (
            Dynamic(1, 2, 3, (3, 3), (2, 2), options={"padding": 1, "stride": 2}),
            Dynamic(1, 2, 1, (2, 2), (1, 2), groups=3),
        ),
        ("dynamic_conv_kernels.py",),
        tile={"values": 128, "taps": 4, "rows": 2},
    ),
    "local_adaptive": Operator(
        (
            Local(1, 1, 2, (1, 2), (1, 1), 20, groups=2, pitch=2),
            Local(2, 1, 3, (2, 2), (2, 2), 3, pitch=2, with_b=False, options=ENLARGED),
            Local(1, 1, 1, (8, 1), (2, 1), 1, pitch=2, options={"negative_slope": -0.5}),
            Local(1, 1, 1, (1, 8), (1, 2), 1, pitch=2),
        ),
        ("local_adaptive_kernels.py", "local_adaptive_backward_kernels.py"),
        tile={"rows": 16, "columns": 16, "length": 16},
        settings={"CHUNK_BYTES": 700, "LEAST_POINTS": 3},
        split=(2,),
    ),
    "minibatch_discrimination": Operator(
        (Samples(((3, 1, 3),)), Samples(((2, 2, 2), (3, 2, 2)))),
        ("minibatch_discrimination_kernels.py",),
        tile={"values": 8, "dimensions": 2},
    ),
    "spectral_norm": Operator(
        (Weights(((3, 2), (1, 5)), 1), Weights(((5, 3),), 0)),
        ("spectral_norm_kernels.py",),
        tile={"BLOCK": 4, "BLOCK_R": 2, "BLOCK_C": 2},
    ),
}


def integers(*shape):
    return torch.randint(-2, 3, shape, generator=torch.Generator().manual_seed(len(shape)))
