"""Packages that only some parts need."""

import contextlib
from collections.abc import Iterator


@contextlib.contextmanager
def extra(purpose: str, extras: str = "train") -> Iterator[None]:
    """Import optional packages inside this ``with`` block; if one is missing, say how to get it.

    Raises:
        ModuleNotFoundError: the package is missing; the message gives the command that installs it.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{purpose} needs a package that is missing ({error}): pip install 'adaconv[{extras}]'",
            name=error.name,
        ) from error
