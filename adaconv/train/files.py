"""Files that are either complete or not there."""

import io
import json
import os
import shutil
from collections.abc import Iterator, Set
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

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


@contextmanager
def making(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Make a folder that is at ``path`` when the ``with`` block ends without an error.

    Until then what the block puts into the folder it is given is not to be seen there.

    Raises:
        ValueError: there is something at ``path`` that is no empty folder.
    """
    path = Path(path)
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise ValueError(f"expected a new or empty folder, got {path}")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.mkdir()
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def read_rows(path: Path, what: str, keys: Set[str]) -> list[dict[str, Any]]:
    """Read a file of JSON lines.

    Args:
        path: the file.
        what: what its lines are.
        keys: what each of them must have.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it has no line, or one that is something else.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there are no {what} at {path}")
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except ValueError as error:
        raise ValueError(f"{path} holds something else than {what}: {error}") from error
    if not rows or not all(isinstance(row, dict) and keys <= row.keys() for row in rows):
        raise ValueError(f"{path} must hold lines of {what}, each with: {', '.join(sorted(keys))}")
    return rows


def leftovers(folder: str | os.PathLike[str]) -> list[Path]:
    """Return the temporary files of :func:`replacing` that a process left when it was killed."""
    return [p for p in Path(folder).rglob(".*.tmp") if p.with_suffix("").suffix[1:].isdigit()]


def save_figure(figure: "Figure", path: str | os.PathLike[str]) -> None:
    """Draw a figure to the PNG file ``path``, see :func:`replacing`."""
    encoded = io.BytesIO()
    figure.savefig(encoded, format="png")
    with replacing(path) as file:
        file.write(encoded.getvalue())
