"""Opening a file of weights: a regular one, of bounded size, of the kind that its name says."""

import contextlib
import os
import stat
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO

from chifoumi_jax.convert.untrusted.errors import WeightsError


class Kind(StrEnum):
    """What a file is by its content."""

    HDF5 = "an HDF5 file"
    ZIP = "a zip archive"
    PICKLE = "a PyTorch file from before version 1.6"
    SAFETENSORS = "a safetensors file"
    OTHER = "of no kind that is known here"


_KINDS = {
    ".keras": (Kind.ZIP,),
    ".h5": (Kind.HDF5,),
    ".hdf5": (Kind.HDF5,),
    ".pt": (Kind.ZIP, Kind.PICKLE),
    ".pth": (Kind.ZIP, Kind.PICKLE),
    ".safetensors": (Kind.SAFETENSORS,),
}
KERAS_SUFFIXES = (".keras", ".h5", ".hdf5")
TORCH_SUFFIXES = (".pt", ".pth", ".safetensors")


@contextlib.contextmanager
def opened(
    path: str | os.PathLike[str], suffixes: tuple[str, ...], max_bytes: int
) -> Iterator[tuple[BinaryIO, Kind]]:
    """Open a file of weights for reading; yields it, from its beginning, and its kind.

    Args:
        path: The file, or a link to it.
        suffixes: The endings of which its name must have one.
        max_bytes: How large it may be.

    Raises:
        WeightsError: If it is none of them, no regular file, empty, too large, or of a kind
            that its suffix contradicts.
        OSError: If it cannot be opened.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in suffixes:
        raise WeightsError(f"the name ends in {suffix!r}; expected one of {', '.join(suffixes)}")
    with open(path, "rb", opener=_open) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise WeightsError("it is no regular file")
        if status.st_size == 0:
            raise WeightsError("it is empty")
        if status.st_size > max_bytes:
            raise WeightsError(
                f"it has {status.st_size:,} bytes; more than {max_bytes:,} are not read"
            )
        kind = kind_of(file.read(16))
        if kind not in _KINDS[suffix]:
            expected = " or ".join(_KINDS[suffix])
            raise WeightsError(f"its content is {kind}; a file named {suffix} is {expected}")
        file.seek(0)
        yield file, kind


def kind_of(start: bytes) -> Kind:
    """The kind of a file that begins with these (at least 9) bytes."""
    if start.startswith(b"\x89HDF\r\n\x1a\n"):
        return Kind.HDF5
    if start.startswith(b"PK\3\4"):
        return Kind.ZIP
    # The opcode for the long integer that is PyTorch's magic number, after the protocol's.
    if start[:1] == b"\x80" and start[2:4] == b"\x8a\x0a":
        return Kind.PICKLE
    # The header's length in 8 bytes, of which the last are zero, and the header, which is JSON.
    if start[4:9] == b"\0\0\0\0{":
        return Kind.SAFETENSORS
    return Kind.OTHER


def _open(path: str, flags: int) -> int:
    # Without waiting: opening a pipe would block until somebody writes to it.
    return os.open(path, flags | os.O_NONBLOCK)
