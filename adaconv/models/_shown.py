"""What goes into a discriminator, and what comes out."""

from typing import Any, NamedTuple, cast

from torch import Tensor


class Shown(NamedTuple):
    """What is put before a discriminator."""

    samples: Any
    """What it is called with: samples (N, ...), or a tuple of them and of what goes with them."""
    codes: Tensor | None = None
    """What the samples were made from, or what class they are of, (N, ...), where that is known."""


class Judged(NamedTuple):
    """What is put before a discriminator, and what it makes of that."""

    samples: Any
    codes: Tensor | None
    features: Tensor
    """What its last layer, the ``head``, is given; without one, what it is given itself."""
    logits: Tensor
    """(N,)."""

    @property
    def labels(self) -> Tensor:
        """The classes, int64 (N,), that the codes, (N, K), are the one-hot form of."""
        return cast(Tensor, self.codes).argmax(1)
