"""Adaptive convolution on the CPU: allocation, dtypes and the calls into ``adaconv._C``."""

from collections.abc import Sequence

import torch
from torch import Tensor

from adaconv import cpu

#: dtype → the dtype it is computed in; half precisions are widened, and rounded once at the end.
COMPUTED_IN = {
    torch.float32: torch.float32,
    torch.float64: torch.float64,
    torch.bfloat16: torch.float32,
    torch.float16: torch.float32,
}
SUFFIX = {torch.float32: "f32", torch.float64: "f64"}


def _address(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


def _strided(tensor: Tensor | None) -> tuple[int, tuple[int, ...]] | None:
    return None if tensor is None else (tensor.data_ptr(), tensor.stride())


def _native(function: str, dtype: torch.dtype):
    return getattr(cpu._C, f"adaptive_conv_{function}_{SUFFIX[COMPUTED_IN[dtype]]}")


def _widen(tensor: Tensor) -> Tensor:
    return tensor.to(COMPUTED_IN[tensor.dtype])


def allocate_outputs(x: Tensor, d: Tensor, P: Tensor, save_signs: bool) -> tuple[Tensor, Tensor]:
    """Return an uninitialised y, channels_last where x is, and the bytes for the sign bits."""
    n, _, oh, ow = d.shape
    last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    y = torch.empty(
        (n, P.shape[0], oh, ow),
        dtype=x.dtype,
        device=x.device,
        memory_format=torch.channels_last if last else torch.contiguous_format,
    )
    size = _sign_bytes(n, oh, ow, P) if save_signs else 0
    return y, torch.empty(size, dtype=torch.uint8, device=x.device)


def _sign_bytes(n: int, oh: int, ow: int, P: Tensor) -> int:
    """Count the bytes of the sign bits: full bands of whole rows, and the rest, in whole tiles."""
    band_pixels, tile_pixels, row_bytes = _native("sign_layout", P.dtype)()
    if n * oh * ow == 0:
        return 0
    rows = n * oh
    band_rows = min(max(1, band_pixels // ow), rows)

    def tiles(rows: int) -> int:
        return (rows * ow + tile_pixels - 1) // tile_pixels

    count = rows // band_rows * tiles(band_rows) + tiles(rows % band_rows)
    return count * P.shape[:4].numel() * row_bytes


def allocate_gradients(
    x: Tensor, d: Tensor, P: Tensor, wanted: Sequence[bool]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return zeros for the gradients of x, d, P and q; those that are not wanted are empty."""

    def zeros_like(tensor: Tensor, want: bool) -> Tensor:
        return torch.zeros_like(tensor) if want else tensor.new_empty(0)

    q = P.new_zeros(P.shape[:4]) if wanted[3] else P.new_empty(0)
    return (
        zeros_like(x, wanted[0]),
        zeros_like(d, wanted[1]),
        P.new_zeros(P.shape) if wanted[2] else P.new_empty(0),
        q,
    )


def _shape(x, d, P, stride, padding, dilation, groups, negative_slope, upsample):
    return cpu._C.AdaptiveConvShape(
        tuple(x.shape), tuple(P.shape), tuple(d.shape[2:]), tuple(stride), tuple(padding),
        tuple(dilation), groups, negative_slope, upsample,
    )  # fmt: skip


def forward(
    x: Tensor,
    d: Tensor,
    P: Tensor,
    q: Tensor | None,
    b: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    negative_slope: float,
    upsample: int,
    save_signs: bool,
) -> tuple[Tensor, Tensor]:
    """Compute y and, where asked for, the sign bits of the regressed weights."""
    dtype = x.dtype
    x, d, P = _widen(x), _widen(d), _widen(P).contiguous()
    q = None if q is None else _widen(q).contiguous()
    b = None if b is None else _widen(b)
    y, signs = allocate_outputs(x, d, P, save_signs)
    if y.numel() > 0:
        _native("forward", x.dtype)(
            _shape(x, d, P, stride, padding, dilation, groups, negative_slope, upsample),
            _strided(x), _strided(d), _address(P), _address(q), _strided(b), _strided(y),
            _address(signs) if save_signs else None,
        )  # fmt: skip
    return y.to(dtype), signs


def backward(
    gy: Tensor,
    x: Tensor,
    d: Tensor,
    P: Tensor,
    q: Tensor | None,
    signs: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    negative_slope: float,
    upsample: int,
    wanted: Sequence[bool],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Compute the gradients of x, d, P and q, those that are wanted.

    The kernel makes the gradients of x and d together, and those of P and q together. Where there
    are no sign bits it recomputes them, a few MiB at a time.
    """
    dtype = x.dtype
    gy, x, d, P = _widen(gy), _widen(x), _widen(d), _widen(P).contiguous()
    q = None if q is None else _widen(q).contiguous()
    inputs, weights = wanted[0] or wanted[1], wanted[2] or wanted[3]
    gradients = allocate_gradients(x, d, P, (inputs, inputs, weights, weights))
    if gy.numel() > 0:
        gx, gd, gP, gq = gradients
        _native("backward", x.dtype)(
            _shape(x, d, P, stride, padding, dilation, groups, negative_slope, upsample),
            _strided(gy), _strided(x), _strided(d), _address(P), _address(q),
            _address(signs) if signs.numel() > 0 else None,
            _strided(gx) if inputs else None, _strided(gd) if inputs else None,
            _address(gP) if weights else None, _address(gq) if weights else None,
        )  # fmt: skip
    gx, gd, gP, gq = (
        g.to(dtype) if want else g.new_empty(0, dtype=dtype)
        for g, want in zip(gradients, wanted, strict=True)
    )
    return gx, gd, gP, gq
