"""A dataset in an HDF5 file that nobody has checked: plain floating-point numbers, in one piece."""

import math
import struct
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from chifoumi_jax.convert.untrusted.errors import WeightsError
from chifoumi_jax.convert.untrusted.hdf5.bytes import NO_ADDRESS, Hdf5Bytes
from chifoumi_jax.convert.untrusted.hdf5.header import Kind, Message, find
from chifoumi_jax.convert.untrusted.stored import Stored

_CONTIGUOUS = (3, 1)
_CLASSES = (
    *("of integers", "of other floating-point numbers", "of times", "of text", "of bits"),
    *("of opaque bytes", "of records", "of references", "of enumerated values"),
    *("of lists of any length", "of arrays"),
)


def _ieee(size: int, exponent: int, mantissa: int) -> bytes:
    """A datatype message, without its version: little-endian, the mantissa's first bit implied."""
    sign = 8 * size - 1
    properties = (0, 8 * size, mantissa, exponent, 0, mantissa, 2 ** (exponent - 1) - 1)
    return struct.pack("<BBBIHHBBBBI", 0x20, sign, 0, size, *properties)


_DTYPES = {_ieee(4, 8, 23): "float32", _ieee(8, 11, 52): "float64"}


def stored(content: Hdf5Bytes, messages: Sequence[Message], path: str) -> Stored:
    """A dataset that lies in the file as one plain block; it is not read yet.

    Args:
        content: The file, which must stay open until it is.
        messages: The dataset's header.
        path: What errors call it.

    Raises:
        WeightsError: If it lies elsewhere, in pieces, compressed, or not wholly in the file.
    """
    if find(messages, Kind.EXTERNAL_FILES) is not None:
        raise WeightsError(f"{path} lies in another file")
    layout = find(messages, Kind.LAYOUT) or b""
    if tuple(layout[:2]) != _CONTIGUOUS or find(messages, Kind.FILTERS) is not None:
        raise WeightsError(
            f"{path} is compressed, in chunks or otherwise stored than by Keras: "
            "load the file with Keras and save it again"
        )
    shape = read_shape(find(messages, Kind.DATASPACE) or b"")
    if shape is None:
        raise WeightsError(f"{path} is empty")
    dtype = _dtype(find(messages, Kind.DATATYPE) or b"")
    address, size = struct.unpack_from("<QQ", layout, 2)
    if dtype in _DTYPES.values():
        needed = math.prod(shape) * np.dtype(dtype).itemsize
        if address == NO_ADDRESS or size != needed or address + size > content.size:
            raise WeightsError(f"{path} does not lie wholly in the file; it may be truncated")

    def read() -> Float[np.ndarray, "..."]:
        array = np.empty(math.prod(shape), dtype)
        content.file.seek(address)
        # A file's interface says that it takes any buffer.
        if content.file.readinto(array.view(np.uint8).data) != size:  # type: ignore[attr-defined]
            raise WeightsError(f"{path} became shorter while it was read")
        return array.reshape(shape)

    return Stored(shape, dtype, read)


def read_shape(dataspace: bytes) -> tuple[int, ...] | None:
    """The shape that a dataspace message says; None if there is not even one element.

    Raises:
        WeightsError: If it is of another version.
        struct.error: If it ends early.
    """
    version, rank, _, kind = struct.unpack_from("<BBBB", dataspace)
    if version not in (1, 2):
        raise WeightsError(f"a dataspace has the version {version}")
    if version == 2 and kind == 2:
        return None
    return struct.unpack_from(f"<{rank}Q", dataspace, 8 if version == 1 else 4)


def _dtype(datatype: bytes) -> str:
    """NumPy's name of the type, or words for a type that weights do not have."""
    for known, name in _DTYPES.items():
        # The class 1, in any version: they describe floating-point numbers alike.
        if datatype[0] & 0x0F == 1 and datatype[1 : 1 + len(known)] == known:
            return name
    number = datatype[0] & 0x0F
    return _CLASSES[number] if number < len(_CLASSES) else f"of HDF5's type {number}"
