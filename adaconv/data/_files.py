"""Files of data sets: where they may lie, and how they are read out of folders and archives."""

import gzip
import os
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

ENVIRONMENT_VARIABLE = "ADACONV_DATA"
CACHE = Path("~/.cache/adaconv")
CHUNK = 1 << 16  # bytes; small, so that the place where a damaged archive ends is found closely
DAMAGED = (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError)  # raised by damaged archives


def find(
    name: str, root: Path | None, candidates: Sequence[str], how: str, system: Sequence[str] = ()
) -> Path:
    """Find the first of ``candidates`` that exists.

    Args:
        name: name of the data; its files may lie in a subfolder called so.
        root: the only folder to look in, or itself a candidate; None for the usual places.
        candidates: paths relative to a place, the preferred first.
        how: how to get the files, for the message.
        system: further places, where packages of the operating system put the files.

    Raises:
        FileNotFoundError: there is none; the message says where to put what.
    """
    if root is not None and root.name in candidates and root.exists():
        return root
    places = _places(name, root, system)
    for place in places:
        for candidate in candidates:
            if (place / candidate).exists():
                return place / candidate
    raise FileNotFoundError(
        f"{name} is not on this machine. {how}\n"
        f"Expected one of: {', '.join(candidates)}\n"
        f"in one of: {', '.join(str(place) for place in places)}"
    )


def _places(name: str, root: Path | None, system: Sequence[str]) -> list[Path]:
    if root is not None:
        bases, system = [root], ()
    else:
        named = os.environ.get(ENVIRONMENT_VARIABLE)
        bases = [Path(named)] if named else []
        bases.append(CACHE.expanduser())
    return [place for base in bases for place in (base, base / name)] + [Path(s) for s in system]


def members(container: Path, wanted: Sequence[str]) -> Iterator[tuple[str, BinaryIO, int]]:
    """Yield (name, stream, size in bytes) of the files ``wanted``, in the order they are stored.

    Args:
        container: a folder, or a tar archive, gzipped or not, whose own folders do not matter. It
            is read once from front to back: read a stream before asking for the next one.
        wanted: names of files, without folders.

    Raises:
        ValueError: the archive is damaged, or a file is missing.
    """
    seen = []
    for name, stream, size in (_in_folder if container.is_dir() else _in_tar)(container, wanted):
        yield name, stream, size
        seen.append(name)
        if len(seen) == len(wanted):
            return
    missing = [name for name in wanted if name not in seen]
    raise ValueError(
        f"{container} is incomplete: got {len(seen)} of the {len(wanted)} files expected; "
        f"missing: {', '.join(missing)}"
    )


def _in_folder(folder: Path, wanted: Sequence[str]) -> Iterator[tuple[str, BinaryIO, int]]:
    for path in (folder / name for name in wanted):
        if path.is_file():
            with path.open("rb") as stream:
                yield path.name, stream, path.stat().st_size


def _in_tar(archive: Path, wanted: Sequence[str]) -> Iterator[tuple[str, BinaryIO, int]]:
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                name = PurePosixPath(member.name).name
                stream = tar.extractfile(member) if name in wanted else None
                if stream is not None:
                    yield name, cast(BinaryIO, stream), member.size
    except DAMAGED as error:
        size = archive.stat().st_size
        raise ValueError(
            f"{archive} is truncated or damaged: got {size:,} bytes, not all can be read ({error})"
        ) from error


def read_exactly(stream: BinaryIO, size: int, where: str) -> bytes:
    """Read ``size`` bytes.

    Raises:
        ValueError: fewer can be read; the message says how many.
    """
    parts: list[bytes] = []
    got = 0
    try:
        while got < size and (part := stream.read(min(CHUNK, size - got))):
            parts.append(part)
            got += len(part)
    except DAMAGED:
        pass  # of a truncated archive what precedes the end has been read: the count below tells
    if got < size:
        raise ValueError(f"{where} is truncated: got {got:,} bytes, expected {size:,}")
    return b"".join(parts)


def count_records(size: int, record: int, where: str) -> int:
    """How many records of ``record`` bytes make up a file of ``size`` bytes.

    Raises:
        ValueError: not a whole positive number of them.
    """
    if size == 0 or size % record:
        raise ValueError(
            f"{where} is truncated or of another format: got {size:,} bytes, "
            f"expected a multiple of {record:,}"
        )
    return size // record
