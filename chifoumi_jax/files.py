"""Files and folders: atomic writes, unused names, and hashes."""

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

_T = TypeVar("_T")


def cache_path(name: str) -> Path:
    """Path of a folder in the user's cache, which the user may empty at any time."""
    from platformdirs import user_cache_path

    return user_cache_path("chifoumi", appauthor=False) / name


def first_free(candidates: Iterable[_T], make: Callable[[_T], object]) -> _T:
    """Create the first candidate that does not exist yet, and return it.

    Creating is the test, so two processes never get the same name.

    Args:
        candidates: Names, numbers or paths to try in order; usually endless.
        make: Creates a candidate's file or folder, and raises `FileExistsError` if it exists.

    Raises:
        FileExistsError: If all candidates exist.
        OSError: If `make` cannot create the file or folder.
    """
    for candidate in candidates:
        try:
            make(candidate)
        except FileExistsError:
            continue
        return candidate
    raise FileExistsError("all candidates exist")


@contextlib.contextmanager
def making(folder: Path) -> Iterator[None]:
    """Create `folder` if it does not exist; remove it if the block fails and leaves it empty."""
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
    """Open a temporary file in `path`'s folder; when the block ends it replaces `path`.

    The file can be written and read. It is flushed to the disk before it replaces `path`, so a
    reader finds the old content or the new content, never a part. If the block fails, `path` keeps
    its old content.
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
    """Replace `path`'s content; see `replacing`."""
    with replacing(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def write_json(path: Path, value: Any) -> None:
    """Write `value` atomically as indented JSON; floats are read back bit for bit."""
    write_atomically(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def sync_directory(path: Path) -> None:
    """Flush a folder's entries to the disk, so that a rename survives a power failure."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
