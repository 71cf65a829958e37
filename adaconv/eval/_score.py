"""The result of a metric."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Score:
    """One number, and how sure it is.

    Attributes:
        name: the metric's name in front of that of the feature network.
        value: the number.
        std: its standard deviation over the splits; None where there is but one.
        splits: how many parts or repetitions ``std`` is taken over.
        protocol: what these are.
        notes: what to know before it is compared with anything.
    """

    name: str
    value: float
    std: float | None
    splits: int
    protocol: str
    notes: tuple[str, ...] = ()
