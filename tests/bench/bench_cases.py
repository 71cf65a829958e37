"""Small cases, and providers that are wrong on purpose."""

import contextlib
import functools
import time

import torch
from adaconv_bench import baselines
from adaconv_bench.formulas import standing_in
from adaconv_bench.operators.adaptive_conv import FORMULAS, Layer, Network, Usual
from adaconv_bench.registry import Provider

LAYER = Layer("T1", 8, 8, 16)
NETWORK = Network("network", "adagan-3x3", 8, (Layer("T1", 8, 4, 2),), width=0.0625)


def provider(formula, name: str = "adaconv") -> Provider:
    """Return one that computes as a baseline: by P (weights, D) and q (weights,)."""
    active = functools.partial(standing_in, FORMULAS.specification, Usual(formula))
    return Provider(name, active)


def one_percent_off(x, d, P, q):
    return 1.01 * baselines.rows(x, d, P, q)


def gradient_one_percent_off(x, d, P, q):
    y = baselines.rows(x, d, P, q)
    return y.detach() + 1.01 * (y - y.detach())


def one_tap_short(x, d, P, q):
    """Leave out the last tap of every filter, as an off-by-one would."""
    kept = torch.arange(P.shape[0]) % 9 != 8
    return baselines.rows(x, d, P * kept[:, None], q * kept)


def slow(x, d, P, q):
    time.sleep(0.05)
    return baselines.rows(x, d, P, q)


def not_a_number(x, d, P, q):
    return float("nan") * baselines.rows(x, d, P, q)


@contextlib.contextmanager
def cannot_start():
    try:
        raise FileNotFoundError("no compiler called g++\nsecond line")
    except FileNotFoundError as cause:
        raise RuntimeError("compilation failed") from cause
    yield
