"""Virtual batch normalisation: every sample by itself, with the statistics of a fixed batch."""

from typing import TypeVar

import torch
from torch import Tensor, nn

from adaconv.ops import _checks

Module = TypeVar("Module", bound=nn.Module)


class VirtualBatchNorm2d(nn.Module):
    r"""Normalise each sample by a reference batch of R samples and itself.

    .. math::
        y[n,c,p] &= \gamma[c]\,\frac{x[n,c,p] - \mu[n,c]}{\sqrt{v[n,c] + \epsilon}} + \beta[c] \\
        \mu[n,c] &= (1 - w)\,\mu_r[c] + w\,\mu_x[n,c], \qquad w = \frac{1}{R + 1} \\
        v[n,c] &= (1 - w)\,v_r[c] + w\,v_x[n,c] + w\,(1 - w)\,(\mu_x[n,c] - \mu_r[c])^2

    with mean and variance of sample n over its pixels p, :math:`\mu_x` and :math:`v_x`, and those
    of the reference batch, :math:`\mu_r` and :math:`v_r`: together, the statistics of R + 1
    samples. So the output of a sample does not depend on what else is in its batch. It maps
    (N, C, H, W) to the same shape, and takes the place of a :class:`torch.nn.BatchNorm2d`; the
    model must be told its reference batch by :func:`fix_reference_`.

    Args:
        num_features: C.
        eps: added to the variance.
        affine: whether to learn γ, the ``weight``, and β, the ``bias``.
        device, dtype: as in :class:`torch.nn.BatchNorm2d`.

    Attributes:
        reference_mean, reference_var, reference_size: the statistics of the reference batch as they
            were in the last training pass, and R. They serve where a layer is used on its own.

    Raises:
        TypeError, ValueError: an argument does not fit; the message says what was expected.
        RuntimeError: there is no reference batch yet.

    Source: Salimans et al., "Improved Techniques for Training GANs", 2016, section 3.4.

    Example:
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), VirtualBatchNorm2d(8))
        >>> fix_reference_(model, torch.randn(64, 3, 9, 9)) is model
        True
        >>> model(torch.randn(2, 3, 9, 9)).shape
        torch.Size([2, 8, 7, 7])
    """

    weight: Tensor | None
    bias: Tensor | None
    reference_mean: Tensor
    reference_var: Tensor
    reference_size: Tensor

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        _checks.factor("num_features", num_features)
        self.num_features = num_features
        self.eps = eps
        for name, value in (("weight", 1.0), ("bias", 0.0)):
            start = torch.full((num_features,), value, device=device, dtype=dtype)
            self.register_parameter(name, nn.Parameter(start) if affine else None)
        for name, value in (("reference_mean", 0.0), ("reference_var", 1.0)):
            start = torch.full((num_features,), value, device=device, dtype=dtype)
            self.register_buffer(name, start)
        self.register_buffer("reference_size", torch.tensor(0, device=device))
        self._collects = False
        #: Mean, variance and size of the reference batch, with gradients, while the model runs.
        self._statistics: tuple[Tensor, Tensor, int] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Map x (N, C, H, W) to y of the same shape."""
        if x.dim() != 4 or x.shape[1] != self.num_features:
            raise ValueError(
                f"x must have shape (N, {self.num_features}, H, W), got {tuple(x.shape)}"
            )
        mean, var = self._collect(x) if self._collects else self._blend(x)
        scale = torch.rsqrt(var + self.eps)
        if self.weight is not None:
            scale = scale * self.weight
        shift = -mean * scale
        if self.bias is not None:
            shift = shift + self.bias
        return torch.addcmul(shift[..., None, None], x, scale[..., None, None])

    def _collect(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and variance of the reference batch, (C,), and keep them."""
        var, mean = torch.var_mean(x, (0, 2, 3), correction=0)
        self._statistics = mean, var, len(x)
        if self.training:
            with torch.no_grad():
                self.reference_mean.copy_(mean)
                self.reference_var.copy_(var)
                self.reference_size.fill_(len(x))
        return mean, var

    def _blend(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and variance of the reference batch and each sample, (N, C)."""
        mean, var, size = self._statistics or (
            self.reference_mean, self.reference_var, int(self.reference_size)
        )  # fmt: skip
        if size == 0:
            raise RuntimeError(
                "VirtualBatchNorm2d has no reference batch; call fix_reference_(model, batch)"
            )
        own_var, own_mean = torch.var_mean(x, (2, 3), correction=0)
        share = 1 / (size + 1)
        apart = own_mean - mean
        spread = share * (1 - share) * apart.square()
        return mean + share * apart, (1 - share) * var + share * own_var + spread

    def extra_repr(self) -> str:
        """Return the arguments as :class:`torch.nn.BatchNorm2d` does."""
        return f"{self.num_features}, eps={self.eps}, affine={self.weight is not None}"


def fix_reference_(model: Module, reference: Tensor) -> Module:
    """Give ``model`` the reference batch of its :class:`VirtualBatchNorm2d` layers; return it.

    Before each forward pass the model computes the reference batch, so that its statistics are
    those under the present weights, and gradients flow through them; this costs a forward pass of
    that batch, and its backward pass. In the reference batch itself, samples are normalised by its
    statistics alone. In evaluation mode no buffer changes.

    Args:
        model: a module that takes one tensor; changed in place.
        reference: the batch, as the model takes it, drawn once and for all. It becomes the buffer
            ``reference_batch`` of the model, which saves it and moves it to other devices.

    Raises:
        TypeError, ValueError: the model is no module or has no :class:`VirtualBatchNorm2d`, or the
            reference is not a batch.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    if not isinstance(reference, Tensor):
        raise TypeError(f"reference must be a tensor, got {type(reference).__name__}")
    if reference.dim() < 1 or len(reference) < 1:
        raise ValueError(
            f"reference must have at least one sample, got shape {tuple(reference.shape)}"
        )
    if not _layers(model):
        raise ValueError("model must have a VirtualBatchNorm2d, got none")
    fixed = hasattr(model, "reference_batch")
    model.register_buffer("reference_batch", reference.detach().clone())
    if not fixed:
        model.register_forward_pre_hook(_collect)
        model.register_forward_hook(_release, always_call=True)
    return model


def _layers(model: nn.Module) -> list[VirtualBatchNorm2d]:
    return [m for m in model.modules() if isinstance(m, VirtualBatchNorm2d)]


def _collect(model: nn.Module, _: object) -> None:
    """Let every layer take the statistics of the reference batch."""
    for layer in _layers(model):
        layer._collects = True
    try:
        model.forward(model.reference_batch)
    finally:
        for layer in _layers(model):
            layer._collects = False


def _release(model: nn.Module, *_: object) -> None:
    """Forget the statistics that have gradients, also where the forward pass raised."""
    for layer in _layers(model):
        layer._statistics = None
