"""Reads untrusted zip archives: `.keras` files, and PyTorch files since version 1.6."""

import contextlib
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from chifoumi_jax.convert.untrusted.errors import WeightsError, as_weights_error
from chifoumi_jax.convert.untrusted.limits import (
    MAX_ZIP_DIRECTORY_BYTES,
    MAX_ZIP_ENTRIES,
    MAX_ZIP_RATIO,
)

_END_BYTES = 22
_END64_BYTES = 56
_LOCATOR64_BYTES = 20
_ENCRYPTED = 0x1
_DAMAGE_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    OSError,
    RuntimeError,
    ValueError,
)


class Archive:
    """A zip archive whose directory has passed the checks."""

    def __init__(self, archive: zipfile.ZipFile):
        self._archive = archive
        self._entries = {entry.filename: entry for entry in archive.infolist()}

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its entries, in the directory's order."""
        return tuple(self._entries)

    def size(self, name: str) -> int:
        """Returns the size of an unpacked entry, in bytes."""
        return self._entries[name].file_size

    def read(self, name: str, max_bytes: int) -> bytes:
        """Unpacks an entry and verifies its checksum.

        Raises:
            WeightsError: If it is absent or damaged, or has more than `max_bytes`.
        """
        if name not in self._entries:
            raise WeightsError(f"it holds no {name}")
        if self.size(name) > max_bytes:
            raise WeightsError(
                f"{name} has {self.size(name):,} bytes; more than {max_bytes:,} are not read"
            )
        with as_weights_error(name, _DAMAGE_ERRORS):
            return self._archive.read(self._entries[name])


@contextlib.contextmanager
def open_archive(file: BinaryIO, max_bytes: int) -> Iterator[Archive]:
    """Opens a zip archive and checks its directory; no entry is read yet.

    Args:
        file: The archive, open for reading.
        max_bytes: Limit for the unpacked size of all entries together.

    Raises:
        WeightsError: If the directory is damaged or too large, or an entry is encrypted, a link, a
            folder or a duplicate, has a path that leads out, or is too large when unpacked.
    """
    _check_directory(file)
    with as_weights_error("its zip directory", _DAMAGE_ERRORS):
        archive = zipfile.ZipFile(file)
    with archive:
        entries = archive.infolist()
        if len(entries) > MAX_ZIP_ENTRIES:
            raise WeightsError(f"it has {len(entries)} entries; at most {MAX_ZIP_ENTRIES} are read")
        names = set()
        for entry in entries:
            _check_entry(entry)
            if entry.filename in names:
                raise WeightsError(f"it has two entries named {entry.filename!r}")
            names.add(entry.filename)
        total = sum(entry.file_size for entry in entries)
        if total > max_bytes:
            raise WeightsError(
                f"it unpacks to {total:,} bytes; more than {max_bytes:,} are not read"
            )
        yield Archive(archive)


def _check_directory(file: BinaryIO) -> None:
    """Refuses a directory that is too large, because `zipfile` reads all of it at once."""
    size = file.seek(0, 2)
    tail_bytes = min(size, _END_BYTES + _LOCATOR64_BYTES + _END64_BYTES)
    file.seek(size - tail_bytes)
    tail = file.read(tail_bytes)
    end = tail[-_END_BYTES:]
    # A comment could hide a second directory; neither Keras nor PyTorch writes one.
    if not end.startswith(b"PK\5\6") or end[-2:] != b"\0\0":
        raise WeightsError("it does not end with a zip directory; it may be truncated")
    sizes = {int.from_bytes(end[12:16], "little")}
    if tail[_END64_BYTES:].startswith(b"PK\6\7"):
        # `zipfile` may use either size, so check the larger one.
        sizes = sizes - {2**32 - 1} | {int.from_bytes(tail[40:48], "little")}
    directory_bytes = max(sizes)
    if directory_bytes > MAX_ZIP_DIRECTORY_BYTES:
        raise WeightsError(
            f"its zip directory has {directory_bytes:,} bytes; "
            f"more than {MAX_ZIP_DIRECTORY_BYTES:,} are not read"
        )


def _check_entry(entry: zipfile.ZipInfo) -> None:
    name = entry.filename
    if not name or name.startswith("/") or "\\" in name or ":" in name or ".." in name.split("/"):
        raise WeightsError(f"its entry {name!r} leads out of the archive")
    if entry.is_dir() or stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG):
        raise WeightsError(f"its entry {name!r} is a link, a folder or a device; expected a file")
    if entry.flag_bits & _ENCRYPTED:
        raise WeightsError(f"its entry {name!r} is encrypted")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise WeightsError(
            f"its entry {name!r} is compressed by method {entry.compress_type}; "
            "expected stored (0) or deflated (8)"
        )
    if entry.file_size > MAX_ZIP_RATIO * entry.compress_size:
        raise WeightsError(
            f"its entry {name!r} unpacks to {entry.file_size:,} bytes, more than "
            f"{MAX_ZIP_RATIO} times its packed size: a zip bomb"
        )
