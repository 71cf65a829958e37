"""Small calls with an edge of everything, computed within the bounds of the kernels' memory."""

import contextlib
import functools
import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from unittest import mock

import torch
from adaptive_conv_cases import Case as Adaptive
from adaptive_separable_cases import Case as Separable
from conv_contract import results as results_of
from dynamic_conv_cases import Case as Dynamic
from local_adaptive_cases import Case as Local
from minibatch_discrimination_cases import Samples
from spectral_norm_cases import Weights
from triton_memory import bounded


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
        again: places of the cases that are computed once more, float32 as numbers of float16, and
            places of an argument that is then not finite, nor is the gradient of the result.
    """

    cases: tuple
    files: tuple[str, ...]
    tile: Mapping[str, int] = field(default_factory=dict)
    settings: Mapping[str, int] = field(default_factory=dict)
    again: Mapping[int, int | None] = field(default_factory=dict)


ENLARGED = {"padding": (1, 1), "stride": (2, 2), "upsample": 2, "negative_slope": 0.5}

OPERATORS = {
    "adaptive_conv": Operator(
        (
            Adaptive(1, 1, 3, (3, 2), (2, 2), 5, options=ENLARGED),
            Adaptive(1, 1, 3, (3, 2), (2, 2), 5, groups=2),
            Adaptive(1, 1, 66, (1, 3), (1, 1), 20, options={"padding": (1, 0)}),
            Adaptive(1, 1, 2, (1, 1), (1, 1), 70),
            Adaptive(1, 1, 2, (1, 1), (1, 1), 130),
        ),
        ("adaptive_conv_kernels.py", "_products.py"),
        tile={"pixels": 4, "columns": 64, "features": 16},
        again={0: 0, 3: None, 4: None},
    ),
    "adaptive_separable": Operator(
        (
            Separable(1, 3, 1, (2, 1), (2, 2), 3, options=ENLARGED),
            Separable(1, 17, 1, (2, 2), (2, 2), 20),
        ),
        ("adaptive_separable_kernels.py",),
        tile={"pixels": 16, "columns": 16, "features": 16},
        again={0: 0},
    ),
    "dynamic_conv": Operator(
        (
            Dynamic(1, 3, 3, (2, 2), (2, 2), options={"padding": 1, "stride": 2}),
            Dynamic(1, 2, 1, (3, 2), (2, 2), groups=3),
        ),
        ("dynamic_conv_kernels.py",),
        tile={"values": 256, "taps": 8, "rows": 2},
        again={0: 1},
    ),
    "local_adaptive": Operator(
        (
            Local(1, 1, 3, (1, 2), (1, 1), 20, groups=3, pitch=2),
            Local(2, 1, 3, (2, 1), (2, 2), 3, pitch=2, with_b=False, options=ENLARGED),
            Local(2, 1, 1, (8, 1), (2, 1), 1, pitch=2, options={"negative_slope": -0.5}),
            Local(1, 1, 1, (1, 8), (1, 2), 1, pitch=2, options={"negative_slope": 0.5}),
        ),
        ("local_adaptive_kernels.py", "local_adaptive_backward_kernels.py"),
        tile={"rows": 16, "columns": 16, "length": 16},
        settings={"CHUNK_BYTES": 700, "LEAST_POINTS": 3},
        again={2: 0},
    ),
    "minibatch_discrimination": Operator(
        (Samples(((3, 1, 3),)), Samples(((2, 2, 2), (3, 2, 2)))),
        ("minibatch_discrimination_kernels.py",),
        tile={"values": 8, "dimensions": 2},
    ),
    "spectral_norm": Operator(
        (Weights(((2, 5), (5, 1)), 1), Weights(((5, 1),), 0)),
        ("spectral_norm_kernels.py",),
        tile={"BLOCK": 4, "BLOCK_R": 2, "BLOCK_C": 2},
    ),
}


def integers(*shape):
    return torch.randint(-2, 3, shape, generator=torch.Generator().manual_seed(len(shape)))


def results(stem, index, dtype, backend, spoiled):
    """Return y and the gradients; of a gy and the ``spoiled`` argument that are not finite."""
    case = OPERATORS[stem].cases[index]
    tensors = [None if t is None else t.to(dtype) for t in case.tensors(integers)]

    def gy_of(y):
        return spoil(torch.ones_like(y))

    def spoil(tensor):
        if spoiled is not None:
            tensor[0, 0, tensor.shape[2] // 2, 0] = float("nan")
        return tensor

    spoil(tensors[spoiled or 0])
    return results_of(case, tensors, gy_of, backend)


@functools.cache
def expected(stem, index, spoiled):
    return results(stem, index, torch.float64, "reference", spoiled)


@contextlib.contextmanager
def cut(stem, choose):
    """Let a function of a kernel and its configurations choose how it is cut."""
    from adaconv_kernels import _tuning

    launches = importlib.import_module(f"adaconv_kernels.{stem}")
    with (
        mock.patch.dict(vars(launches), OPERATORS[stem].settings),
        mock.patch.object(
            _tuning, "choose", lambda kernel, _, configs, *more: choose(kernel, configs)
        ),
    ):
        yield


def small(kernel, configs):
    """Return a configuration of small tiles."""
    file = kernel.fn.__module__.rpartition(".")[2] + ".py"
    tile = next(one.tile for one in OPERATORS.values() if file in one.files)
    given = configs[0] if isinstance(configs[0], dict) else configs[0]._asdict()
    return type(configs[0])(**given | {name: tile[name] for name in given.keys() & tile})


def check(stem, choose):
    """Compute all cases as the specification does, within the bounds of their memory."""
    from adaconv_kernels import _products

    with cut(stem, choose):
        for index in range(len(OPERATORS[stem].cases)):
            check_case(stem, index)
        # The interpreter need not split float32, but can: its numbers of float16 are as exact.
        with mock.patch.object(_products, "INTERPRETED", False):
            for index, spoiled in OPERATORS[stem].again.items():
                check_case(stem, index, spoiled)


def check_case(stem, index, spoiled=None):
    with bounded():
        found = results(stem, index, torch.float32, "triton", spoiled)
    for got, want in zip(found, expected(stem, index, spoiled), strict=True):
        torch.testing.assert_close(got, want.float(), rtol=1e-5, atol=1e-5, equal_nan=True)
