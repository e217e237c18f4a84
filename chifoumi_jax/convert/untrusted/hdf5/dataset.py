"""Describes datasets of an untrusted HDF5 file: plain floating-point numbers in one block."""

import math
import struct
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from chifoumi_jax.convert.untrusted.errors import WeightsError
from chifoumi_jax.convert.untrusted.hdf5.bytes import NO_ADDRESS, Hdf5Bytes
from chifoumi_jax.convert.untrusted.hdf5.header import Message, MessageType, find
from chifoumi_jax.convert.untrusted.stored import StoredTensor

_CONTIGUOUS = (3, 1)
_TYPE_NAMES = (
    *("of integers", "of other floating-point numbers", "of times", "of text", "of bits"),
    *("of opaque bytes", "of records", "of references", "of enumerated values"),
    *("of lists of any length", "of arrays"),
)


def _ieee_datatype(size: int, exponent: int, mantissa: int) -> bytes:
    """A little-endian datatype message without its version; the mantissa's first bit is implied."""
    sign = 8 * size - 1
    properties = (0, 8 * size, mantissa, exponent, 0, mantissa, 2 ** (exponent - 1) - 1)
    return struct.pack("<BBBIHHBBBBI", 0x20, sign, 0, size, *properties)


_DTYPES = {_ieee_datatype(4, 8, 23): "float32", _ieee_datatype(8, 11, 52): "float64"}


def stored_tensor(content: Hdf5Bytes, messages: Sequence[Message], path: str) -> StoredTensor:
    """Describes a dataset that is one plain block in the file; it is not read yet.

    Args:
        content: The file; it must stay open until the dataset is read.
        messages: The dataset's header.
        path: The dataset's name in error messages.

    Raises:
        WeightsError: If it is in another file, in chunks, compressed, or incomplete.
    """
    if find(messages, MessageType.EXTERNAL_FILES) is not None:
        raise WeightsError(f"{path} is stored in another file")
    layout = find(messages, MessageType.LAYOUT) or b""
    if tuple(layout[:2]) != _CONTIGUOUS or find(messages, MessageType.FILTERS) is not None:
        raise WeightsError(
            f"{path} is compressed, in chunks, or not stored as Keras does: "
            "load the file with Keras and save it again"
        )
    shape = read_shape(find(messages, MessageType.DATASPACE) or b"")
    if shape is None:
        raise WeightsError(f"{path} is empty")
    dtype = _dtype(find(messages, MessageType.DATATYPE) or b"")
    address, size = struct.unpack_from("<QQ", layout, 2)
    if dtype in _DTYPES.values():
        needed = math.prod(shape) * np.dtype(dtype).itemsize
        if address == NO_ADDRESS or size != needed or address + size > content.size:
            raise WeightsError(f"{path} is not completely in the file; it may be truncated")

    def read() -> Float[np.ndarray, "..."]:
        array = np.empty(math.prod(shape), dtype)
        content.file.seek(address)
        # `readinto` takes any buffer, though `BinaryIO` does not declare it.
        if content.file.readinto(array.view(np.uint8).data) != size:  # type: ignore[attr-defined]
            raise WeightsError(f"{path} became shorter while it was read")
        return array.reshape(shape)

    return StoredTensor(shape, dtype, read)


def read_shape(dataspace: bytes) -> tuple[int, ...] | None:
    """Returns the shape in a dataspace message; None if it has no elements at all.

    Raises:
        WeightsError: If the version is unknown.
        struct.error: If it ends early.
    """
    version, rank, _, space_type = struct.unpack_from("<BBBB", dataspace)
    if version not in (1, 2):
        raise WeightsError(f"a dataspace has version {version}; expected 1 or 2")
    if version == 2 and space_type == 2:
        return None
    return struct.unpack_from(f"<{rank}Q", dataspace, 8 if version == 1 else 4)


def _dtype(datatype: bytes) -> str:
    """Returns NumPy's name of the type, or a description of a type that weights do not have."""
    for known, name in _DTYPES.items():
        # Class 1, floating-point numbers, is the same in all versions.
        if datatype[0] & 0x0F == 1 and datatype[1 : 1 + len(known)] == known:
            return name
    type_class = datatype[0] & 0x0F
    known_class = type_class < len(_TYPE_NAMES)
    return _TYPE_NAMES[type_class] if known_class else f"of HDF5's type {type_class}"
