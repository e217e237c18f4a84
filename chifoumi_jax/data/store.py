"""Decoded pixels on disk, so that a photo is decoded once a run and memory need not hold all."""

import mmap
import os
import tempfile
import threading
import weakref
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import UInt8


class PixelStore:
    """Images of one shape, by key, in a file without a name.

    The file is mapped into memory for reading, so that the system keeps what fits and reads again
    what does not. Having no name, it vanishes with the process, however that ends.

    Args:
        directory: Where the file takes its space.
        shape: Of one image.
    """

    def __init__(self, directory: Path, shape: tuple[int, ...]):
        self.shape = shape
        self._directory = directory
        self._file, path = tempfile.mkstemp(prefix=".pixels-", dir=directory)
        Path(path).unlink()
        weakref.finalize(self, os.close, self._file)
        self._bytes = int(np.prod(shape))
        self._rows: dict[str, int] = {}
        self._lock = threading.Lock()

    def add(self, key: str, pixels: UInt8[np.ndarray, "..."]) -> None:
        """Keep `pixels` under `key`; a key that is there already stays as it is. Thread-safe.

        Raises:
            ValueError: If the pixels have another shape or type.
            OSError: If the disk is full.
        """
        if pixels.shape != self.shape or pixels.dtype != np.uint8:
            raise ValueError(f"expected uint8 {self.shape}, got {pixels.dtype} {pixels.shape}")
        with self._lock:
            if key in self._rows:
                return
            row = self._rows[key] = len(self._rows)
        view = memoryview(np.ascontiguousarray(pixels).data).cast("B")
        offset = row * self._bytes
        try:
            while view:
                written = os.pwrite(self._file, view, offset)
                view, offset = view[written:], offset + written
        except OSError as error:
            message = f"decoded photos could not be kept ({error.strerror}): make room"
            raise OSError(error.errno, message, str(self._directory)) from error

    def __len__(self) -> int:
        """Number of images."""
        return len(self._rows)

    @property
    def rows(self) -> Mapping[str, int]:
        """Where each key's image stands in `pixels`."""
        return self._rows

    def pixels(self) -> UInt8[np.ndarray, "images ..."]:
        """All images, mapped and read-only; what is added later is not among them."""
        if not self._rows:
            return np.zeros((0, *self.shape), np.uint8)
        length = len(self._rows) * self._bytes
        mapped = mmap.mmap(self._file, length, access=mmap.ACCESS_READ)
        return np.frombuffer(mapped, np.uint8).reshape(-1, *self.shape)
