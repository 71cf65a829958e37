"""A short trial: which of several formulations is the fastest at a case."""

from collections.abc import Mapping, Sequence

import torch

from adaconv_bench.race import STEP, turn_of
from adaconv_bench.registry import Case, Provider, draw
from adaconv_bench.timing import Budget, interleave

#: After a round that compiles and warms up; the slow ones get one, of more the quickest counts.
BUDGET = Budget(seconds=2.0, least=1, most=5)


def settle(
    provider: Provider, cases: Sequence[Case], batch: int, dtype: torch.dtype, threads: int
) -> Provider:
    """Return the provider with its choice made, in a process that has its environment.

    Args:
        provider: one that has a choice.
        cases: the cases that it is going to compute.
        batch: samples per call of the trial.
        dtype: dtype of the trial.
        threads: threads that torch computes with.
    """
    if provider.choose is None:
        raise ValueError(f"{provider.name} has nothing to choose")
    torch.set_num_threads(threads)
    return provider.choose(cases, batch, dtype)


def fastest(candidates: Mapping[str, Provider], case: Case, batch: int, dtype: torch.dtype) -> str:
    """Return the name of the candidate whose forward and backward pass takes the least time.

    A candidate that cannot run is out of the contest; where none can, the first is returned, whose
    failure is then reported as that of any other provider.
    """
    problem = draw(case, batch, dtype, dtype)
    turns = {}
    for name, provider in candidates.items():
        turn = turn_of(problem, provider)
        try:
            turn()
        except Exception:
            continue
        turns[name] = turn
    samples = interleave(turns, BUDGET)
    best = {name: min(directions[STEP]) for name, directions in samples.items()}
    return min(best, key=best.__getitem__, default=next(iter(candidates)))
