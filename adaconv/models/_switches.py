"""The tricks that can be switched on for any model, by name."""

import inspect
from collections.abc import Sequence

from adaconv.models._gan import GAN
from adaconv.models._improved import (
    FeatureMatching,
    HistoricalAveraging,
    LabelSmoothing,
    MinibatchFeatures,
    VirtualBatchNorm,
)
from adaconv.models._tricks import Consensus, Trick
from adaconv.nn._names import unknown

#: name → trick, in the order in which they are attached: first what changes the networks
TRICKS: dict[str, type[Trick]] = {
    "minibatch-discrimination": MinibatchFeatures,
    "virtual-batch-norm": VirtualBatchNorm,
    "feature-matching": FeatureMatching,
    "label-smoothing": LabelSmoothing,
    "historical-averaging": HistoricalAveraging,
    "consensus": Consensus,
}


def attach(gan: GAN, trick: Trick) -> None:
    """Add a trick to a new model.

    Raises:
        ValueError: the model has it already, or cannot take it.
    """
    name = next(name for name, kind in TRICKS.items() if isinstance(trick, kind))
    try:
        if any(isinstance(other, type(trick)) for other in gan.tricks):
            raise ValueError("it has it already")
        trick.attach(gan)
    except ValueError as error:
        raise ValueError(f"{gan.name} cannot take the trick {name}: {error}") from error
    gan.tricks.append(trick)


def switch_on(gan: GAN, specs: Sequence[str]) -> None:
    """Add tricks to a new model, and to its ``config``.

    Args:
        gan: the model.
        specs: keys of :data:`TRICKS`, each with values for its arguments behind colons if they are
            not to be the usual ones: ``"label-smoothing:0.9:0.1"``.

    Raises:
        ValueError: there is no such trick, it has no such argument, or the model cannot take it.
    """
    named = {spec.partition(":")[0]: spec for spec in specs}
    for name in named:
        if name not in TRICKS:
            raise ValueError(unknown("trick", name, TRICKS))
    for name in TRICKS:
        if name in named:
            attach(gan, _made(named[name]))
            gan.config.setdefault("tricks", []).append(named[name])


def _made(spec: str) -> Trick:
    name, *values = spec.split(":")
    parameters = list(inspect.signature(TRICKS[name]).parameters.values())
    try:
        arguments = [p.annotation(v) for p, v in zip(parameters, values, strict=False)]
        if len(values) <= len(parameters):
            return TRICKS[name](*arguments)
        raise ValueError("these are too many values")
    except ValueError as error:
        usage = "".join(f":{p.name.upper()}" for p in parameters)
        raise ValueError(f"a trick is given as {name}{usage}, got {spec!r}: {error}") from error
