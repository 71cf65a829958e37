"""How much the samples of a batch differ from each other: what a collapse takes away."""

import torch
from torch import Tensor


def diversity(samples: Tensor, real: Tensor) -> float:
    """``Σ ‖x_i - x_j‖ / Σ ‖y_i - y_j‖``, means over all pairs of samples x and of real samples y.

    1 if samples differ from each other as much as the data do; 0 if all are the same.

    Args:
        samples: (N, ...), N > 1.
        real: (M, ...), M > 1.

    Raises:
        ValueError: the shapes do not fit, there are too few, or the real samples are all the same.

    The likeness of a batch tells a collapse: Salimans et al., "Improved Techniques for Training
    GANs", 2016, section 3.2. The measure itself is ours.

    Example:
        >>> diversity(torch.tensor([[0.0], [1.0]]), torch.tensor([[0.0], [4.0]]))
        0.25
    """
    if samples.shape[1:] != real.shape[1:] or min(len(samples), len(real)) < 2:
        raise ValueError(
            "samples and real samples must be two or more of one shape, got "
            f"{tuple(samples.shape)} and {tuple(real.shape)}"
        )
    spread = _mean_distance(real)
    if spread == 0:
        raise ValueError(f"the {len(real)} real samples are all the same: nothing to compare with")
    return _mean_distance(samples) / spread


def _mean_distance(samples: Tensor) -> float:
    return torch.pdist(samples.detach().flatten(1).double().cpu()).mean().item()
