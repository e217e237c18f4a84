"""Decoded pixels on disk, keyed by file content: a photo is decoded once, not once per run.

A store is two files that only grow. `images-<name>` holds one image after another and is
memory-mapped for reading; `index` holds one record for each image. A record is written after its
image and contains checksums of both, so that leftovers of a crash or a full disk are skipped. Two
runs may use a store at the same time, because they lock the index while they add to it. A store is
removed as a whole, by name; a run that has it open can use it until the run ends.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
import shutil
import struct
import threading
import weakref
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

# SHA-256 of the photo's file, the photo's width and height, CRC-32 of the pixels and of the record.
_RECORD = struct.Struct("<32sIII4xI12x")
# The index starts with the name of the image file.
_HEADER = struct.Struct("<8s16s40x")
_MAGIC = b"chifoum1"
# Number of attempts to open a store that other processes remove at the same time.
_ATTEMPTS = 100


class StoredImage(NamedTuple):
    """An image of the store.

    Attributes:
        row: Index of the image in the pixels.
        width: Width of the photo that it was decoded from, in pixels.
        height: Height, likewise.
        checksum: CRC-32 of its pixels.
    """

    row: int
    width: int
    height: int
    checksum: int


class PixelStore:
    """Images of one shape, keyed by the SHA-256 of the files that they were decoded from.

    Args:
        directory: A directory of this store alone; it is created if it does not exist.
        shape: Shape of one image.
        temporary: Whether the store is removed when the process ends, however it ends.

    Raises:
        OSError: If the directory cannot be written to.
    """

    def __init__(self, directory: Path, shape: tuple[int, ...], *, temporary: bool = False):
        self.shape = shape
        self._directory = directory
        self._bytes = int(np.prod(shape))
        self._stored: dict[str, StoredImage] = {}
        self._rows: dict[str, int] = {}
        self._records = 0
        self._lock = threading.Lock()
        self._index, self._images = _open(directory)
        for file in (self._index, self._images):
            weakref.finalize(self, os.close, file)
        self._read_records()
        if temporary:
            shutil.rmtree(directory)

    def find(self, key: str) -> StoredImage | None:
        """The image of this key, if the store has it undamaged. Thread-safe."""
        stored = self._stored.get(key)
        if stored is None:
            return None
        pixels = os.pread(self._images, self._bytes, stored.row * self._bytes)
        if len(pixels) != self._bytes or zlib.crc32(pixels) != stored.checksum:
            return None
        self._rows[key] = stored.row
        return stored

    def add(self, key: str, pixels: UInt8[np.ndarray, ...], width: int, height: int) -> None:
        """Store `pixels` under `key`; a key in use keeps its pixels. Thread-safe.

        Args:
            key: SHA-256 of the photo's file, hexadecimal.
            pixels: The decoded image.
            width: Width of the photo before it was resized.
            height: Height, likewise.

        Raises:
            ValueError: If the pixels have another shape or type.
            OSError: If the disk is full.
        """
        if pixels.shape != self.shape or pixels.dtype != np.uint8:
            raise ValueError(f"expected uint8 {self.shape}, got {pixels.dtype} {pixels.shape}")
        content = np.ascontiguousarray(pixels).data.cast("B")
        checksum = zlib.crc32(content)
        with self._lock:
            if key in self._rows:
                return
            fcntl.flock(self._index, fcntl.LOCK_EX)
            try:
                known = self._stored.get(key)
                self._read_records()
                if (found := self._stored.get(key)) is not None and found is not known:
                    # Another process has added it.
                    self._rows[key] = found.row
                    return
                # A truncated record is overwritten.
                row = self._records
                _write(self._images, content, row * self._bytes)
                record = _record(key, width, height, checksum)
                _write(self._index, record, _HEADER.size + row * _RECORD.size)
            except OSError as error:
                message = f"decoded photos could not be kept ({error.strerror}); free disk space"
                raise OSError(error.errno, message, str(self._directory)) from error
            finally:
                fcntl.flock(self._index, fcntl.LOCK_UN)
            self._rows[key] = row

    def __len__(self) -> int:
        """Number of images in use: those that were found or added."""
        return len(self._rows)

    @property
    def rows(self) -> Mapping[str, int]:
        """Index in `pixels` of the image of each key in use."""
        return self._rows

    def pixels(self) -> UInt8[np.ndarray, "images ..."]:
        """The images, memory-mapped and read-only; they include all images in use."""
        if not self._rows:
            return np.zeros((0, *self.shape), np.uint8)
        length = (max(self._rows.values()) + 1) * self._bytes
        mapped = mmap.mmap(self._images, length, access=mmap.ACCESS_READ)
        return np.frombuffer(mapped, np.uint8).reshape(-1, *self.shape)

    def remove_if_too_large(self, max_bytes: int) -> None:
        """Remove the store if it is larger than `max_bytes` but its images in use would fit.

        A store grows with every folder, and single images cannot be removed. The next process
        starts a new store; this process can use its open files until it ends.
        """
        if os.fstat(self._images).st_blocks * 512 > max_bytes >= len(self) * self._bytes:
            shutil.rmtree(self._directory, ignore_errors=True)

    def _read_records(self) -> None:
        """Read the records that were written since the last call."""
        start = _HEADER.size + self._records * _RECORD.size
        content = os.pread(self._index, max(0, os.fstat(self._index).st_size - start), start)
        complete = len(content) // _RECORD.size * _RECORD.size
        for row, fields in enumerate(_RECORD.iter_unpack(content[:complete]), start=self._records):
            digest, width, height, checksum, _ = fields
            if _record(digest.hex(), width, height, checksum) == _RECORD.pack(*fields):
                self._stored[digest.hex()] = StoredImage(row, width, height, checksum)
        self._records += complete // _RECORD.size


def trim(directory: Path, max_bytes: int, spare: Path | None = None) -> None:
    """Remove the least recently opened stores in `directory` until the rest fits.

    The store at `spare` stays, whatever its size, because the next start would fill it again.
    """
    stores = []
    for store in directory.iterdir():
        # Another process may be removing it, or it is a user's file and not a store.
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            opened = (store / "index").stat().st_mtime
            size = sum(file.stat().st_blocks * 512 for file in store.iterdir())
            stores.append((opened, size, store))
    total = sum(size for _, size, _ in stores)
    for _, size, store in sorted(stores):
        if total <= max_bytes:
            return
        if store == spare:
            continue
        shutil.rmtree(store, ignore_errors=True)
        total -= size


def _open(directory: Path) -> tuple[int, int]:
    """Open the index and the images of a store, which is created if it does not exist."""
    for attempts_left in reversed(range(_ATTEMPTS)):
        try:
            if (opened := _try_to_open(directory)) is not None:
                return opened
        except (FileExistsError, FileNotFoundError):
            # Another process may be removing it. If nothing can be created here, retries fail too.
            if not attempts_left:
                raise
    raise OSError(errno.EBUSY, "other processes keep removing this store", str(directory))


def _try_to_open(directory: Path) -> tuple[int, int] | None:
    path = directory / "index"
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    index = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(index, fcntl.LOCK_EX)
        # It may have been removed between opening and locking.
        if _is_same_file(index, path):
            images = _open_images(directory, index)
            # This marks the last use, because `trim` removes the oldest.
            os.utime(index)
            fcntl.flock(index, fcntl.LOCK_UN)
            return index, images
    except BaseException:
        os.close(index)
        raise
    os.close(index)
    return None


def _open_images(directory: Path, index: int) -> int:
    header = os.pread(index, _HEADER.size, 0).ljust(_HEADER.size, b"\0")
    magic, name = _HEADER.unpack(header)
    if magic == _MAGIC:
        with contextlib.suppress(FileNotFoundError):
            return os.open(directory / f"images-{name.hex()}", os.O_RDWR | os.O_CLOEXEC)
    # A new store, or one with an unusable header or without its images.
    name = os.urandom(16)
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    images = os.open(directory / f"images-{name.hex()}", flags, 0o600)
    os.ftruncate(index, 0)
    _write(index, _HEADER.pack(_MAGIC, name), 0)
    return images


def _is_same_file(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def _record(key: str, width: int, height: int, checksum: int) -> bytes:
    unsigned = _RECORD.pack(bytes.fromhex(key), width, height, checksum, 0)
    return _RECORD.pack(bytes.fromhex(key), width, height, checksum, zlib.crc32(unsigned))


def _write(file: int, content: memoryview | bytes, offset: int) -> None:
    view = memoryview(content)
    while view:
        written = os.pwrite(file, view, offset)
        view, offset = view[written:], offset + written
