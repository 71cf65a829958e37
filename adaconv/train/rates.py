"""The learning rate as training goes on: a factor on that of the model."""

import math
from collections.abc import Callable

#: Name → factor where a share, from 0 to 1, of the steps is done.
SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda done: 1.0,
    "linear": lambda done: 1.0 - done,
    "cosine": lambda done: (1.0 + math.cos(math.pi * done)) / 2,
}


def factor(schedule: str, steps: int) -> Callable[[int], float]:
    """Return the factor as a function of the steps done, of ``steps``; beyond them it stays."""
    shape = SCHEDULES[schedule]
    return lambda step: shape(min(step / steps, 1.0))
