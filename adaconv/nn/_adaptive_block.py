"""What the blocks share that stand in for a convolution and regress its weights at every pixel."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from adaconv.nn._geometry import Geometry, Window
from adaconv.nn._init import truncated_normal_
from adaconv.nn._names import unknown
from adaconv.ops import _checks
from adaconv.ops._dispatch import select
from adaconv.ops.adaptive_conv import MEMORY
from adaconv.reference.adaptive_conv import enlarge

REGRESSORS = ("separable", "full")


class AdaptiveBlock(nn.Module):
    """The features and the bias of an adaptive convolution, around the operator of a subclass.

    ``y = operator(x, d) + bias_weight * x + bias`` with features ``d`` that a depthwise convolution
    makes of ``x``, or that are all values in its window. A subclass names the parameters that its
    weights are regressed with and calls its operator with them.
    """

    #: Stem of the operator.
    stem: str

    depthwise_weight: Tensor | None
    bias_weight: Tensor
    bias: Tensor | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] | str = 0,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
        *,
        adaptive_kernel_size: int | Sequence[int] = 3,
        regressor: str = "separable",
        negative_slope: float = 0.0,
        upsample: int = 1,
        backend: str | None = None,
    ) -> None:
        super().__init__()
        _check_channels(in_channels, out_channels, groups)
        if regressor not in REGRESSORS:
            raise ValueError(unknown("regressor", regressor, REGRESSORS))
        _checks.factor("upsample", upsample)
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = _checks.pair("kernel_size", kernel_size, 1)
        self.stride = _checks.pair("stride", stride, 1)
        self.padding = padding if isinstance(padding, str) else _checks.pair("padding", padding, 0)
        self.dilation = _checks.pair("dilation", dilation, 1)
        self.groups = groups
        self.padding_mode = padding_mode
        self.adaptive_kernel_size = _checks.pair("adaptive_kernel_size", adaptive_kernel_size, 1)
        self.regressor = regressor
        self.negative_slope = negative_slope
        self.upsample = upsample
        self.backend = backend
        self._geometry = Geometry.of(
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            padding_mode,
            self.adaptive_kernel_size,
        )
        self._register(bias, {"device": device, "dtype": dtype})
        self.reset_parameters()

    def _register(self, bias: bool, factory: dict[str, Any]) -> None:
        """Create the parameters, uninitialised, under the names of the state_dict."""
        separable = self.regressor == "separable"
        window = self.adaptive_kernel_size
        features = self.in_channels * (1 if separable else window[0] * window[1])
        shapes = {
            "depthwise_weight": (self.in_channels, 1, *window) if separable else None,
            **self._regression(features),
            "bias_weight": (self.out_channels, self.in_channels, *window),
            "bias": (self.out_channels,) if bias else None,
        }
        for name, shape in shapes.items():
            parameter = None if shape is None else nn.Parameter(torch.empty(shape, **factory))
            self.register_parameter(name, parameter)

    def reset_parameters(self) -> None:
        """Draw weights from N(0, 0.02²) truncated at two standard deviations; set biases to 0."""
        for name, parameter in self.named_parameters(recurse=False):
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            else:
                truncated_normal_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        """Map x (N, C, H, W) to y (N, O, OH, OW), or (C, H, W) to (O, OH, OW)."""
        self._check_input(x)
        if x.dim() == 3:
            return self(x.unsqueeze(0)).squeeze(0)
        upsample = self.upsample if self._fuses_upsampling(x) else 1
        if upsample != self.upsample:
            x = enlarge(x, self.upsample)
        x = self._geometry.frame(x)
        window, regression = self._geometry.filter, self._geometry.regression
        return self._convolve(
            x,
            self._features(x, window.check_fits(x, upsample), upsample),
            regression.conv2d(x, self.bias_weight, self.bias, upsample=upsample),
            stride=self.stride,
            padding=window.near,
            dilation=self.dilation,
            groups=self.groups,
            negative_slope=self.negative_slope,
            upsample=upsample,
            backend=self.backend,
        )

    @abstractmethod
    def _regression(self, features: int) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the parameters that the weights are regressed with, by name."""

    @abstractmethod
    def _convolve(self, x: Tensor, d: Tensor, b: Tensor, **options: Any) -> Tensor:
        """Call the operator."""

    def _fuses_upsampling(self, x: Tensor) -> bool:
        """Whether the enlarged picture need not exist: a border other than zeros needs it.

        On a GPU it is cheaper than the launches of the convolutions of each phase.
        """
        return self._geometry.border is None and select(self.backend, self.stem, [x]) == "cpu"

    def _features(self, x: Tensor, output_size: tuple[int, int], upsample: int) -> Tensor:
        """Return d, (N, D, OH, OW), that the weights are regressed from."""
        return self._seen_by(self._geometry.regression, x, output_size, upsample)

    def _seen_by(
        self, window: Window, x: Tensor, output_size: tuple[int, int], upsample: int
    ) -> Tensor:
        """Return the features of each position of a window."""
        if self.depthwise_weight is None:
            return window.unfold(enlarge(x, upsample), output_size)
        return window.conv2d(x, self.depthwise_weight, groups=self.in_channels, upsample=upsample)

    def _check_input(self, x: Tensor) -> None:
        channels, weight = self.in_channels, self.bias_weight
        if not isinstance(x, Tensor):
            raise TypeError(f"x must be a tensor, got {type(x).__name__}")
        if x.dim() not in (3, 4) or x.shape[-3] != channels:
            raise ValueError(
                f"x must have shape (N, {channels}, H, W) or ({channels}, H, W), "
                f"got {tuple(x.shape)}"
            )
        if x.device != weight.device:
            raise ValueError(f"x must be on the block's device, {weight.device}, got {x.device}")
        # Under autocast the operators cast.
        if x.dtype != weight.dtype and not torch.is_autocast_enabled(x.device.type):
            raise TypeError(f"x must have the block's dtype, {weight.dtype}, got {x.dtype}")

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "AdaptiveBlock":
        """Keep 5-D weights from ``to(memory_format=...)``, which would refuse it."""

        def apply(tensor: Tensor) -> Tensor:
            if tensor.dim() != 5:
                return fn(tensor)
            return fn(tensor.flatten(0, 3)).unflatten(0, tensor.shape[:4])

        return super()._apply(apply, recurse)

    def extra_repr(self) -> str:
        """Return the arguments as :class:`torch.nn.Conv2d` does; most defaults are left out."""
        optional = {
            "padding": (self.padding, (0, 0)),
            "dilation": (self.dilation, (1, 1)),
            "groups": (self.groups, 1),
            "bias": (self.bias is not None, True),
            "padding_mode": (self.padding_mode, "zeros"),
            "regressor": (self.regressor, "separable"),
            "negative_slope": (self.negative_slope, 0.0),
            "upsample": (self.upsample, 1),
            "backend": (self.backend, None),
        }
        parts = [
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
            f"stride={self.stride}, adaptive_kernel_size={self.adaptive_kernel_size}"
        ]
        parts += [
            f"{name}={value!r}" for name, (value, usual) in optional.items() if value != usual
        ]
        return ", ".join(parts)


class PixelBlock(AdaptiveBlock):
    """An adaptive block with weights of its own for every pixel, whose signs may be kept."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] | str = 0,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
        *,
        adaptive_kernel_size: int | Sequence[int] = 3,
        regressor: str = "separable",
        negative_slope: float = 0.0,
        upsample: int = 1,
        memory: str = "mask",
        backend: str | None = None,
    ) -> None:
        _checks.choice("memory", memory, MEMORY)
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias,
            padding_mode, device, dtype, adaptive_kernel_size=adaptive_kernel_size,
            regressor=regressor, negative_slope=negative_slope, upsample=upsample, backend=backend,
        )  # fmt: skip
        self.memory = memory

    def extra_repr(self) -> str:
        """Return the arguments as :class:`torch.nn.Conv2d` does; most defaults are left out."""
        memory = "" if self.memory == "mask" else f", memory={self.memory!r}"
        return super().extra_repr() + memory


def _check_channels(in_channels: int, out_channels: int, groups: int) -> None:
    given = {"groups": groups, "in_channels": in_channels, "out_channels": out_channels}
    for name, value in given.items():
        if not isinstance(value, int):
            raise TypeError(f"{name} must be an integer, got {value!r}")
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
        if value % groups:
            raise ValueError(f"{name} must be a multiple of groups={groups}, got {value}")
