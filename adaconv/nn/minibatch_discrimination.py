"""Minibatch discrimination as a module."""

import math

import torch
import torch.distributed as dist
from torch import Tensor, nn

from adaconv.ops import _checks, minibatch_discrimination


class MinibatchDiscrimination(nn.Module):
    r"""Features of samples, and behind them how close each sample is to the others of its batch.

    .. math::
        M[i,b,c] = \sum_a x[i,a]\,T[a,b,c], \qquad
        o[i,b] = \sum_{j \ne i} \exp\Big(-\sum_c \lvert M[i,b,c] - M[j,b,c]\rvert\Big)

    with T the ``weight``. It maps x (N, A) to [x, o] (N, A + B), or, compared with a second set of
    samples, to [x, o, o'] (N, A + 2B), with o' the sums over the second set. A discriminator that
    has it can see that a generator makes the same picture over and over. Memory is O(N B C).

    Args:
        in_features: A.
        out_features: B, the measures of distance.
        kernel_size: C, the dimensions that each of them has.
        exclude_self: whether to leave out the comparison of a sample with itself.
        group: process group whose ranks share a batch, see
            :func:`adaconv.minibatch_discrimination`.
        backend: name of the backend to run; ``None`` chooses, see :func:`adaconv.backend`.
        device, dtype: as in :class:`torch.nn.Linear`.

    Attributes:
        weight: T, (A, B, C).

    Raises:
        TypeError, ValueError: an argument does not fit; the message says what was expected.

    Source: Salimans et al., "Improved Techniques for Training GANs", 2016, section 3.2.

    Deviations: T starts from a normal distribution of standard deviation 1 / (C √A), so that
    independent features of variance 1 are about 1 apart; with one of 1, as it is often drawn, every
    exponential vanishes, and so do the gradients.

    Example:
        >>> MinibatchDiscrimination(192)(torch.randn(8, 192)).shape
        torch.Size([8, 292])
    """

    def __init__(
        self,
        in_features: int,
        out_features: int = 100,
        kernel_size: int = 5,
        *,
        exclude_self: bool = True,
        group: "dist.ProcessGroup | None" = None,
        backend: str | None = None,
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        shape = (in_features, out_features, kernel_size)
        for name, value in zip(("in_features", "out_features", "kernel_size"), shape, strict=True):
            _checks.factor(name, value)
        self.exclude_self = exclude_self
        self.group = group
        self.backend = backend
        self.weight = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weight from N(0, 1 / (C² A))."""
        features, _, size = self.weight.shape
        nn.init.normal_(self.weight, std=1 / (size * math.sqrt(features)))

    def forward(self, x: Tensor, other: Tensor | None = None) -> Tensor:
        """Map x (N, A) to [x, o], or with the features of a second set (J, A) to [x, o, o']."""
        M = self._project("x", x)
        parts = [x, self._closeness(M)]
        if other is not None:
            parts.append(self._closeness(M, self._project("other", other)))
        return torch.cat(parts, 1)

    def _closeness(self, M: Tensor, other: Tensor | None = None) -> Tensor:
        return minibatch_discrimination(
            M, other, exclude_self=self.exclude_self, group=self.group, backend=self.backend
        )

    def _project(self, name: str, x: Tensor) -> Tensor:
        features, *shape = self.weight.shape
        if not isinstance(x, Tensor):
            raise TypeError(f"{name} must be a tensor, got {type(x).__name__}")
        if x.dim() != 2 or x.shape[1] != features:
            raise ValueError(f"{name} must have shape (N, {features}), got {tuple(x.shape)}")
        return (x @ self.weight.flatten(1)).unflatten(1, shape)

    def extra_repr(self) -> str:
        """Return the sizes, and what is unusual."""
        features, outputs, size = self.weight.shape
        unusual = "" if self.exclude_self else ", exclude_self=False"
        return f"{features}, {outputs}, kernel_size={size}{unusual}"
