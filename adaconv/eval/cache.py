"""Statistics of real images, kept on disk."""

import hashlib
import io
import warnings
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch

from adaconv.data._files import CACHE
from adaconv.eval.statistics import Statistics
from adaconv.train.files import replacing

FOLDER = CACHE / "statistics"
DIGEST_SIZE = hashlib.sha256().digest_size


class CacheWarning(UserWarning):
    """A file of the cache is damaged: what it held is computed anew."""


def cached(
    key: dict[str, str | int], folder: Path, compute: Callable[[], Statistics]
) -> Statistics:
    """Return the statistics that ``key`` is of: from a file of ``folder``, else computed and kept.

    The name of the file is the hash of the key, and its first bytes are that of its content; it
    appears whole or not at all.

    Args:
        key: all that the statistics depend on.
        folder: made where it does not exist.
        compute: makes the statistics.

    Warns:
        CacheWarning: the file there is damaged; it is replaced.
    """
    name = hashlib.sha256(repr(sorted(key.items())).encode()).hexdigest()[:32]
    path = folder.expanduser() / f"{name}.statistics"
    if path.is_file():
        try:
            return _unpack(path.read_bytes(), key)
        except ValueError as error:
            warnings.warn(f"{path} is computed anew: {error}", CacheWarning, stacklevel=2)
    statistics = compute()
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        file.write(_pack(statistics, key))
    return statistics


def _pack(statistics: Statistics, key: dict[str, str | int]) -> bytes:
    content = io.BytesIO()
    torch.save({"key": key, "statistics": asdict(statistics)}, content)
    return hashlib.sha256(content.getbuffer()).digest() + content.getvalue()


def _unpack(packed: bytes, key: dict[str, str | int]) -> Statistics:
    digest, content = packed[:DIGEST_SIZE], packed[DIGEST_SIZE:]
    if hashlib.sha256(content).digest() != digest:
        raise ValueError("it is damaged")
    found = torch.load(io.BytesIO(content), weights_only=True)
    if found["key"] != key:
        raise ValueError(f"it is of something else: {found['key']}, expected {key}")
    return Statistics(**found["statistics"])
