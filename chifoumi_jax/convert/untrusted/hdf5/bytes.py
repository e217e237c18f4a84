"""Reads small blocks of an HDF5 file, one by one."""

import io
from typing import BinaryIO

from chifoumi_jax.convert.untrusted.errors import WeightsError
from chifoumi_jax.convert.untrusted.limits import MAX_HDF5_BLOCK_BYTES

# The address that means "none".
NO_ADDRESS = 2**64 - 1


class Hdf5Bytes:
    """An HDF5 file whose addresses have eight bytes and count from the start of the file.

    Attributes:
        file: The file, open for reading.
        size: Its size in bytes.
    """

    def __init__(self, file: BinaryIO):
        self.file = file
        self.size = file.seek(0, io.SEEK_END)

    def read(self, address: int, size: int) -> bytes:
        """Reads a block of the file's structure; such blocks are never large.

        Raises:
            WeightsError: If the block is too large, or is not completely in the file.
        """
        if size > MAX_HDF5_BLOCK_BYTES:
            raise WeightsError(f"a part of its HDF5 structure would have {size:,} bytes")
        if address + size > self.size:
            raise WeightsError("its HDF5 structure points outside the file; it may be truncated")
        self.file.seek(address)
        content = self.file.read(size)
        if len(content) < size:
            raise WeightsError("it became shorter while it was read")
        return content
