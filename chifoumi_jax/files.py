"""Writing files so that a reader finds the old content or the new, never a part."""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO


def cache_path(name: str) -> Path:
    """A folder of this name in the user's cache, which may be emptied at any time."""
    from platformdirs import user_cache_path

    return user_cache_path("chifoumi", appauthor=False) / name


@contextlib.contextmanager
def making(folder: Path) -> Iterator[None]:
    """Make `folder` if it is not there; if the block fails and left it empty, remove it again."""
    is_new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        if is_new:
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A temporary file beside `path` to write to (and read from), which then takes its place.

    It is flushed to the disk first. If the block fails, `path` is as it was.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_directory(path.parent)


def write_atomically(path: Path, content: str | bytes) -> None:
    """Replace `path`'s content through a temporary file beside it, flushed to the disk first."""
    with replacing(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def write_json(path: Path, value: Any) -> None:
    """Write `value` atomically as indented JSON; floats keep every bit."""
    write_atomically(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def sync_directory(path: Path) -> None:
    """Flush a folder's entries to the disk, so that a rename survives a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
