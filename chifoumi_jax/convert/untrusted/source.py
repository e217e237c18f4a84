"""Opens a weights file: a regular file of limited size, whose content fits its suffix."""

import contextlib
import os
import stat
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO

from chifoumi_jax.convert.untrusted.errors import WeightsError


class FileFormat(StrEnum):
    """The format of a file, detected from its content."""

    HDF5 = "an HDF5 file"
    ZIP = "a zip archive"
    PICKLE = "a PyTorch file from before version 1.6"
    SAFETENSORS = "a safetensors file"
    OTHER = "of an unknown format"


_FORMATS_BY_SUFFIX = {
    ".keras": (FileFormat.ZIP,),
    ".h5": (FileFormat.HDF5,),
    ".hdf5": (FileFormat.HDF5,),
    ".pt": (FileFormat.ZIP, FileFormat.PICKLE),
    ".pth": (FileFormat.ZIP, FileFormat.PICKLE),
    ".safetensors": (FileFormat.SAFETENSORS,),
}
KERAS_SUFFIXES = (".keras", ".h5", ".hdf5")
TORCH_SUFFIXES = (".pt", ".pth", ".safetensors")


@contextlib.contextmanager
def open_weights(
    path: str | os.PathLike[str], suffixes: tuple[str, ...], max_bytes: int
) -> Iterator[tuple[BinaryIO, FileFormat]]:
    """Opens a weights file for reading; yields it at its beginning, with its format.

    Args:
        path: The file, or a link to it.
        suffixes: The allowed suffixes.
        max_bytes: The largest allowed size.

    Raises:
        WeightsError: If it has another suffix, is not a regular file, is empty or too large, or its
            format contradicts its suffix.
        OSError: If it cannot be opened.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in suffixes:
        raise WeightsError(f"the name ends in {suffix!r}; expected one of {', '.join(suffixes)}")
    with open(path, "rb", opener=_open_nonblocking) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise WeightsError("it is not a regular file")
        if status.st_size == 0:
            raise WeightsError("it is empty")
        if status.st_size > max_bytes:
            raise WeightsError(
                f"it has {status.st_size:,} bytes; more than {max_bytes:,} are not read"
            )
        file_format = detect_format(file.read(16))
        if file_format not in _FORMATS_BY_SUFFIX[suffix]:
            expected = " or ".join(_FORMATS_BY_SUFFIX[suffix])
            raise WeightsError(f"its content is {file_format}; a file named {suffix} is {expected}")
        file.seek(0)
        yield file, file_format


def detect_format(start: bytes) -> FileFormat:
    """Returns the format of a file that begins with these bytes, at least 9."""
    if start.startswith(b"\x89HDF\r\n\x1a\n"):
        return FileFormat.HDF5
    if start.startswith(b"PK\3\4"):
        return FileFormat.ZIP
    # After the protocol opcode comes the one for a long integer, PyTorch's magic number.
    if start[:1] == b"\x80" and start[2:4] == b"\x8a\x0a":
        return FileFormat.PICKLE
    # The 8 bytes of the header's length end in zeros; then the JSON header begins.
    if start[4:9] == b"\0\0\0\0{":
        return FileFormat.SAFETENSORS
    return FileFormat.OTHER


def _open_nonblocking(path: str, flags: int) -> int:
    # Otherwise opening a pipe would block until another process writes to it.
    return os.open(path, flags | os.O_NONBLOCK)
