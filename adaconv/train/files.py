"""Files that are either complete or not there."""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:  # an optional package
    from matplotlib.figure import Figure


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a file that takes the place of ``path`` when the ``with`` block ends without an error.

    The bytes go to a temporary file beside ``path``, which is flushed to the disk and then renamed:
    at no time, not even when the machine stops, does ``path`` hold a part of the content.

    Example:
        >>> import tempfile
        >>> target = Path(tempfile.mkdtemp()) / "a.txt"
        >>> with replacing(target) as file:
        ...     _ = file.write(b"all or nothing")
        >>> target.read_bytes()
        b'all or nothing'
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        error.filename = error.filename or os.fspath(path)  # a write that fails names no file
        raise
    finally:
        temporary.unlink(missing_ok=True)


def leftovers(folder: str | os.PathLike[str]) -> list[Path]:
    """Return the temporary files of :func:`replacing` that a process left when it was killed."""
    return [p for p in Path(folder).rglob(".*.tmp") if p.with_suffix("").suffix[1:].isdigit()]


def save_figure(figure: "Figure", path: str | os.PathLike[str]) -> None:
    """Draw a figure to the PNG file ``path``, see :func:`replacing`."""
    encoded = io.BytesIO()
    figure.savefig(encoded, format="png")
    with replacing(path) as file:
        file.write(encoded.getvalue())
