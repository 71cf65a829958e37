"""Choice of the backend that runs an operator.

One function per backend both selects and explains: it returns ``None`` where the backend can run
and the reason where it cannot. Those of the tensors' device are tried, the fastest first.
"""

import contextlib
import importlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType

import adaconv_kernels
import torch
from torch import Tensor

import adaconv.cpu as cpu
import adaconv.cuda as cuda

ENVIRONMENT_VARIABLE = "ADACONV_BACKEND"


class BackendError(RuntimeError):
    """A backend was named that cannot run the call; the message gives every backend's reason."""


def _cpu(stem: str, tensors: Sequence[Tensor]) -> str | None:
    if cpu.unavailable is not None:
        return cpu.unavailable
    if stem not in cpu.OPERATORS:
        return f"has no kernel for {stem}"
    for tensor in tensors:
        if tensor.device.type != "cpu":
            return f"runs on CPU tensors, got one on {tensor.device}"
    return None


def _reference(stem: str, tensors: Sequence[Tensor]) -> str | None:
    return None


#: name → reason why it cannot run (operator stem, tensors), or None where it can.
BACKENDS: dict[str, Callable[[str, Sequence[Tensor]], str | None]] = {
    "cpu": _cpu,
    "triton": adaconv_kernels.why_not,
    "cuda": cuda.why_not,
    "reference": _reference,
}

#: device → the backends that may be chosen for its tensors, the fastest first.
DEFAULTS = {"cpu": ("cpu", "reference"), "cuda": ("triton", "cuda", "reference")}

#: backend → package whose modules, named by stems, allocate and call its kernels.
PACKAGES = {"cpu": "adaconv.cpu", "triton": "adaconv_kernels", "cuda": "adaconv.cuda"}


def kernels(backend: str, stem: str) -> ModuleType:
    """Return the module through which an operator reaches the kernels of a backend."""
    return importlib.import_module(f"{PACKAGES[backend]}.{stem}")


class _Scope(threading.local):
    name: str | None = os.environ.get(ENVIRONMENT_VARIABLE) or None


_scope = _Scope()


@contextlib.contextmanager
def backend(name: str | None) -> Iterator[None]:
    """Run every operator inside the ``with`` block on the backend ``name`` (``None``: choose).

    A ``backend=`` argument of a call wins over this scope, and this scope over the environment
    variable ``ADACONV_BACKEND``.

    Raises:
        BackendError: no backend has that name.
    """
    _known(name)
    before, _scope.name = _scope.name, name
    try:
        yield
    finally:
        _scope.name = before


def backends(stem: str = "adaptive_conv", *tensors: Tensor) -> dict[str, str | None]:
    """Each backend with the reason why it cannot run the operator on these tensors, or ``None``."""
    return {name: why_not(name, stem, tensors) for name in BACKENDS}


def why_not(name: str, stem: str, tensors: Sequence[Tensor]) -> str | None:
    """Return why a backend cannot run the operator on these tensors, or ``None`` where it can."""
    if name != "reference" and any(map(_is_traced_by_func, tensors)):
        return "cannot be differentiated by torch.func (grad, jacrev, jvp, ...); use the reference"
    return BACKENDS[name](stem, tensors)


def _is_traced_by_func(tensor: Tensor) -> bool:
    """Whether a transform of torch.func other than vmap, at any level, sees the tensor."""
    if torch.compiler.is_compiling():
        return False
    while torch._C._functorch.is_functorch_wrapped_tensor(tensor):
        if torch._C._functorch.is_gradtrackingtensor(tensor):
            return True
        tensor = torch._C._functorch.get_unwrapped(tensor)
    return False


def select(name: str | None, stem: str, tensors: Sequence[Tensor]) -> str:
    """Return the backend to run: the one that was named, or else the first that can.

    Raises:
        BackendError: the named backend does not exist or cannot run this call.
    """
    name = name or _scope.name
    if name is None:
        device = tensors[0].device.type if tensors else "cpu"
        order = DEFAULTS.get(device, ("reference",))
        return next(key for key in order if why_not(key, stem, tensors) is None)
    _known(name)
    if why_not(name, stem, tensors) is not None:
        reasons = "; ".join(
            f"{key}: {'can run' if why is None else why}"
            for key, why in backends(stem, *tensors).items()
        )
        raise BackendError(f"backend {name!r} cannot run {stem} here. {reasons}")
    return name


def _known(name: str | None) -> None:
    if name is not None and name not in BACKENDS:
        raise BackendError(f"no backend is called {name!r}; there are: {', '.join(BACKENDS)}")
