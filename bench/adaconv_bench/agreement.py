"""Do two trainings that started alike stay alike? The gate of the training benchmark.

Both start from the same weights and see the same images and latents; what they differ in is the
order in which adaptive convolution adds up its products.

**The blocks, replayed.** In the first step the input of every block and the gradient that comes
back to it are taken down; adaconv computes the same blocks from them, and its outputs and gradients
must be those of the other training. Nothing accumulates, so this check is sharp.

**The losses of each step.** Losses alone would show little: Adam and batch normalisation divide the
size of a gradient out, and one that is 1 % too large can train for five steps without a trace. Nor
do they stay together for long in any two formulations of one network. The first step's agree to
rounding. But where an activation lies within rounding of 0, one side passes a gradient and the
other does not; Adam turns small gradients into whole steps; and every step starts from the
difference of the one before. What this amounts to is measured in the same run: a twin of adaconv's
training, its weights moved by a few units in the last place, drifts away from it for no other
reason. The allowed difference is a fixed one that grows from step to step, or :data:`TWINS` times
the twin's where that is more, up to :data:`MOST`.
"""

import itertools
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from adaconv.train.comparison import Step
from adaconv_bench.gate import Verdict, norm, relative_error

#: Steps that are compared.
STEPS = 5

#: Allowed relative difference of the losses in the first step: a mean of fp32 logits.
FIRST = 16 * torch.finfo(torch.float32).eps

#: How many times larger a difference may be than in the step before.
GROWTH = 5.0

#: How many times further than the twin the other may be.
TWINS = 4.0

#: No twin excuses more than this, one that diverges least of all.
MOST = 1e-2

#: The twin's weights are moved by at most so much of themselves.
MOVED = 4 * torch.finfo(torch.float32).eps

#: Allowed relative difference of a block's output, of its input's gradient, and of its parameters'.
#: Of 1e8 weights, a few may be within rounding of 0, where they count on one side and not on the
#: other: nothing in y, but one of n alone makes about 1/√n of a gradient.
BLOCK_OUTPUT, BLOCK_INPUT, BLOCK_PARAMETER = 2e-5, 1e-4, 1e-3

#: A gradient that is smaller than this share of the block's largest, such as that of a bias in
#: front of batch normalisation, which is nothing but rounding, is measured in units of the share.
SHARE = 1e-2


def difference(found: Step, expected: Step) -> float:
    """Return the largest difference of two steps' losses, in units of the loss, or of 1 if less."""
    pairs = zip(found.losses, expected.losses, strict=True)
    differences = [abs(a - b) / max(1.0, abs(b)) for a, b in pairs]
    return max(differences) if all(d == d for d in differences) else float("inf")


def compare_losses(
    found: Sequence[Step], expected: Sequence[Step], twin: Sequence[Step]
) -> Verdict:
    """Compare the losses of the first :data:`STEPS` steps; ``twin`` is that of ``found``."""
    errors, bounds = {}, {}
    drifts = itertools.accumulate(map(difference, twin, found), max)
    for index, drift in enumerate(itertools.islice(drifts, STEPS)):
        name = f"loss {index + 1}"
        errors[name] = difference(found[index], expected[index])
        bounds[name] = max(FIRST * GROWTH**index, min(TWINS * drift, MOST))
    return Verdict(errors, bounds)


def compare_block(
    name: str, found: Mapping[str, Tensor], expected: Mapping[str, Tensor]
) -> Verdict:
    """Compare a block's results: its output ``y``, and gradients of ``x`` and its parameters."""
    norms = {key: norm(tensor) for key, tensor in expected.items()}
    largest = max(size for key, size in norms.items() if key not in ("x", "y"))
    errors, bounds = {}, {}
    for key, tensor in expected.items():
        unit = norms[key] if key in ("x", "y") else max(norms[key], SHARE * largest)
        errors[f"{name} {key}"] = relative_error(found[key], tensor, unit)
        bounds[f"{name} {key}"] = {"y": BLOCK_OUTPUT, "x": BLOCK_INPUT}.get(key, BLOCK_PARAMETER)
    return Verdict(errors, bounds)
