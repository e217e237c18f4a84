"""The messages in the header of an HDF5 object, which say what the object is."""

import struct
from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple

from chifoumi_jax.convert.untrusted.errors import WeightsError
from chifoumi_jax.convert.untrusted.hdf5.bytes import Hdf5Bytes
from chifoumi_jax.convert.untrusted.limits import MAX_HDF5_BLOCKS, MAX_HDF5_MESSAGES

_PREFIX = struct.Struct("<BxHII4x")
_HEAD = struct.Struct("<HHB3x")
_SHARED = 0x02


class Kind(IntEnum):
    """The messages that matter here, by their numbers in HDF5's specification."""

    DATASPACE = 0x01
    DATATYPE = 0x03
    EXTERNAL_FILES = 0x07
    LAYOUT = 0x08
    FILTERS = 0x0B
    ATTRIBUTE = 0x0C
    CONTINUATION = 0x10
    SYMBOL_TABLE = 0x11


class Message(NamedTuple):
    """A message of an object's header.

    Attributes:
        kind: What it is about; a `Kind` or another number.
        shared: Whether it only says where the message itself stands.
        data: What it says.
    """

    kind: int
    shared: bool
    data: bytes


def read_header(content: Hdf5Bytes, address: int) -> list[Message]:
    """All messages of the object at `address`.

    Raises:
        WeightsError: If it is damaged, has too many parts, or is of the format that HDF5 has since
            version 1.8, which h5py does not write unless it is asked to.
    """
    version, _, _, size = _PREFIX.unpack(content.read(address, _PREFIX.size))
    if version != 1:
        raise WeightsError(
            f"its HDF5 object at byte {address} has another format than Keras writes: "
            "load the file with Keras and save it again"
        )
    messages: list[Message] = []
    blocks = [(address + _PREFIX.size, size)]
    # The list grows while it is walked through.
    for start, length in blocks:
        block = content.read(start, length)
        place = 0
        while place + _HEAD.size <= length:
            kind, size, flags = _HEAD.unpack_from(block, place)
            place += _HEAD.size
            if place + size > length:
                raise WeightsError("an HDF5 header is damaged")
            messages.append(Message(kind, bool(flags & _SHARED), block[place : place + size]))
            place += size
            if kind == Kind.CONTINUATION:
                blocks.append(struct.unpack_from("<QQ", messages[-1].data))
            if len(blocks) > MAX_HDF5_BLOCKS or len(messages) > MAX_HDF5_MESSAGES:
                raise WeightsError("an HDF5 header has too many parts")
    return messages


def find(messages: Sequence[Message], kind: Kind) -> bytes | None:
    """What the one message of a kind says; None if there is none.

    Raises:
        WeightsError: If there are several, or it stands elsewhere.
    """
    found = [message for message in messages if message.kind == kind]
    if not found:
        return None
    if len(found) > 1 or found[0].shared:
        raise WeightsError(f"an HDF5 header does not say its {kind.name.lower()} plainly")
    return found[0].data
