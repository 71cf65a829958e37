"""What adaconv is compared with: all pairs by broadcasting, and distances by ``torch.cdist``."""

import torch
from torch import Tensor

from adaconv_bench.formulas import Formulas


def broadcast(M: Tensor, Z: Tensor | None, skip: int | None) -> Tensor:
    """Write all differences; what most people write first."""
    Z = M if Z is None else Z
    o = torch.exp(-(M[:, None] - Z).abs().sum(3)).sum(1)
    return o if skip is None else o - 1


def cdist(M: Tensor, Z: Tensor | None, skip: int | None) -> Tensor:
    """Write all distances, by the kernel that PyTorch has for them."""
    x = M.transpose(0, 1).contiguous()
    z = x if Z is None else Z.transpose(0, 1).contiguous()
    o = torch.exp(-torch.cdist(x, z, p=1)).sum(2).t()
    return o if skip is None else o - 1


FORMULAS = Formulas(
    "minibatch_discrimination.minibatch_discrimination", {"cdist": cdist, "broadcast": broadcast}
)
PROVIDERS = {
    provider.name: provider
    for provider in (
        FORMULAS.provider("eager", "cdist"),
        FORMULAS.provider("eager-broadcast", "broadcast"),
        FORMULAS.provider("compile", "broadcast", compiles=True),
        FORMULAS.provider("compile-cdist", "cdist", compiles=True),
    )
}
YARDSTICK = "eager"
