"""Zip archives that nobody has checked: `.keras` files, and PyTorch's since version 1.6."""

import contextlib
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from chifoumi_jax.convert.untrusted.errors import WeightsError, unreadable
from chifoumi_jax.convert.untrusted.limits import (
    MAX_ZIP_DIRECTORY_BYTES,
    MAX_ZIP_ENTRIES,
    MAX_ZIP_RATIO,
)

_END_BYTES = 22
_END64_BYTES = 56
_LOCATOR64_BYTES = 20
_ENCRYPTED = 0x1
_DAMAGE = (
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
    """A zip archive whose directory was found harmless."""

    def __init__(self, archive: zipfile.ZipFile):
        self._archive = archive
        self._entries = {entry.filename: entry for entry in archive.infolist()}

    @property
    def names(self) -> tuple[str, ...]:
        """Names of its entries, in the directory's order."""
        return tuple(self._entries)

    def size(self, name: str) -> int:
        """Bytes of an entry when unpacked."""
        return self._entries[name].file_size

    def read(self, name: str, max_bytes: int) -> bytes:
        """An entry, unpacked, whose checksum holds.

        Raises:
            WeightsError: If it is absent, damaged, or has more than `max_bytes`.
        """
        if name not in self._entries:
            raise WeightsError(f"it holds no {name}")
        if self.size(name) > max_bytes:
            raise WeightsError(
                f"{name} has {self.size(name):,} bytes; more than {max_bytes:,} are not read"
            )
        with unreadable(name, _DAMAGE):
            return self._archive.read(self._entries[name])


@contextlib.contextmanager
def unpacked(file: BinaryIO, max_bytes: int) -> Iterator[Archive]:
    """A zip archive's entries, after its directory was checked; nothing of them is read yet.

    Args:
        file: The archive, open for reading.
        max_bytes: How large all of its entries together may be when unpacked.

    Raises:
        WeightsError: If the directory is damaged or too large, or if an entry is encrypted, a link
            or a folder, stands twice, has a path that leads out, or unpacks to too much.
    """
    _check_directory(file)
    with unreadable("its zip directory", _DAMAGE):
        archive = zipfile.ZipFile(file)
    with archive:
        entries = archive.infolist()
        if len(entries) > MAX_ZIP_ENTRIES:
            raise WeightsError(f"it has {len(entries)} entries; at most {MAX_ZIP_ENTRIES} are read")
        names = set()
        for entry in entries:
            _check_entry(entry)
            if entry.filename in names:
                raise WeightsError(f"it has two entries of the name {entry.filename!r}")
            names.add(entry.filename)
        total = sum(entry.file_size for entry in entries)
        if total > max_bytes:
            raise WeightsError(
                f"it unpacks to {total:,} bytes; more than {max_bytes:,} are not read"
            )
        yield Archive(archive)


def _check_directory(file: BinaryIO) -> None:
    """Refuse a directory that `zipfile`, which reads all of it at once, should not see."""
    size = file.seek(0, 2)
    tail_bytes = min(size, _END_BYTES + _LOCATOR64_BYTES + _END64_BYTES)
    file.seek(size - tail_bytes)
    tail = file.read(tail_bytes)
    end = tail[-_END_BYTES:]
    # Neither Keras nor PyTorch writes a comment, in which a second directory could hide.
    if not end.startswith(b"PK\5\6") or end[-2:] != b"\0\0":
        raise WeightsError("it does not end with a zip directory; it may be truncated")
    sizes = {int.from_bytes(end[12:16], "little")}
    if tail[_END64_BYTES:].startswith(b"PK\6\7"):
        # Which of the two `zipfile` believes depends on more.
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
        raise WeightsError(f"its entry {name!r} is compressed by method {entry.compress_type}")
    if entry.file_size > MAX_ZIP_RATIO * entry.compress_size:
        raise WeightsError(
            f"its entry {name!r} unpacks to {entry.file_size:,} bytes, more than "
            f"{MAX_ZIP_RATIO} times what it takes packed: a zip bomb"
        )
