"""Reads the messages in the header of an HDF5 object, which say what the object is."""

import struct
from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple

from chifoumi_jax.convert.untrusted.errors import WeightsError
from chifoumi_jax.convert.untrusted.hdf5.bytes import Hdf5Bytes
from chifoumi_jax.convert.untrusted.limits import MAX_HDF5_BLOCKS, MAX_HDF5_MESSAGES

_PREFIX = struct.Struct("<BxHII4x")
_MESSAGE_HEAD = struct.Struct("<HHB3x")
_SHARED = 0x02


class MessageType(IntEnum):
    """The message types that are used here, by their numbers in HDF5's specification."""

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
        type: Its type: a `MessageType` or another number.
        shared: Whether it is only a reference to a message elsewhere.
        data: Its content.
    """

    type: int
    shared: bool
    data: bytes


def read_header(content: Hdf5Bytes, address: int) -> list[Message]:
    """Returns all header messages of the object at `address`.

    Raises:
        WeightsError: If the header is damaged, has too many parts, or has the format that HDF5
            introduced in version 1.8, which h5py writes only on request.
    """
    version, _, _, size = _PREFIX.unpack(content.read(address, _PREFIX.size))
    if version != 1:
        raise WeightsError(
            f"its HDF5 object at byte {address} has another format than Keras writes: "
            "load the file with Keras and save it again"
        )
    messages: list[Message] = []
    blocks = [(address + _PREFIX.size, size)]
    # The loop appends to this list.
    for start, length in blocks:
        block = content.read(start, length)
        offset = 0
        while offset + _MESSAGE_HEAD.size <= length:
            message_type, size, flags = _MESSAGE_HEAD.unpack_from(block, offset)
            offset += _MESSAGE_HEAD.size
            if offset + size > length:
                raise WeightsError("an HDF5 header is damaged")
            data = block[offset : offset + size]
            messages.append(Message(message_type, bool(flags & _SHARED), data))
            offset += size
            if message_type == MessageType.CONTINUATION:
                blocks.append(struct.unpack_from("<QQ", messages[-1].data))
            if len(blocks) > MAX_HDF5_BLOCKS or len(messages) > MAX_HDF5_MESSAGES:
                raise WeightsError("an HDF5 header has too many parts")
    return messages


def find(messages: Sequence[Message], message_type: MessageType) -> bytes | None:
    """Returns the content of the only message of a type; None if there is none.

    Raises:
        WeightsError: If there are several, or it is a reference to a message elsewhere.
    """
    found = [message for message in messages if message.type == message_type]
    if not found:
        return None
    if len(found) > 1 or found[0].shared:
        name = message_type.name.lower()
        raise WeightsError(f"an HDF5 header has a duplicate or shared message {name}")
    return found[0].data
