"""Reads strings from the attributes of an HDF5 object."""

import struct
from collections.abc import Sequence

from chifoumi_jax.convert.untrusted.errors import WeightsError
from chifoumi_jax.convert.untrusted.hdf5.bytes import Hdf5Bytes
from chifoumi_jax.convert.untrusted.hdf5.dataset import read_shape
from chifoumi_jax.convert.untrusted.hdf5.header import Message, MessageType
from chifoumi_jax.convert.untrusted.limits import MAX_HDF5_HEAPS, MAX_HDF5_MEMBERS, MAX_JSON_BYTES

_STRING, _VARIABLE_LENGTH = 3, 9
_REFERENCE = struct.Struct("<IQI")
_HEAP = struct.Struct("<4sB3xQ")
_HEAP_OBJECT = struct.Struct("<HHIQ")


class Attributes:
    """Reads attributes, and caches the heaps that hold strings of variable length."""

    def __init__(self, content: Hdf5Bytes):
        self._content = content
        self._heaps: dict[int, dict[int, bytes]] = {}

    def texts(self, messages: Sequence[Message], name: str) -> list[str] | None:
        """Returns the strings in an attribute, one or several; None if there is no such attribute.

        Args:
            messages: The header of the object that has the attribute.
            name: The attribute's name.

        Raises:
            WeightsError: If it does not hold strings, is too long, is not UTF-8, or is damaged.
        """
        try:
            for message in messages:
                if message.type == MessageType.ATTRIBUTE:
                    found, values = self._attribute(message, name)
                    if found:
                        return [value.decode() for value in values]
        except (struct.error, IndexError, UnicodeDecodeError) as error:
            raise WeightsError(f"the attribute {name} cannot be read: {error}") from error
        return None

    def _attribute(self, message: Message, name: str) -> tuple[bool, list[bytes]]:
        """Returns whether this is the attribute `name`, and its values if it is."""
        data = message.data
        version, flags, name_size, type_size, space_size = struct.unpack_from("<BBHHH", data)
        # Version 1 pads each part to 8 bytes; version 3 adds a byte for the name's encoding.
        pad = 8 if version == 1 else 1
        offset = 9 if version == 3 else 8
        parts = []
        for size in (name_size, type_size, space_size):
            parts.append(data[offset : offset + size])
            offset += -(-size // pad) * pad
        if parts[0].rstrip(b"\0") != name.encode():
            return False, []
        if message.shared or version not in (1, 2, 3) or (version > 1 and flags):
            raise WeightsError(f"the attribute {name} is stored in an unsupported form")
        return True, self._values(name, parts[1], parts[2], data[offset:])

    def _values(self, name: str, datatype: bytes, dataspace: bytes, data: bytes) -> list[bytes]:
        shape = read_shape(dataspace)
        # Keras writes an empty list as an array of floats.
        if shape is None or 0 in shape:
            return []
        (size,) = struct.unpack_from("<I", datatype, 4)
        type_class, is_text = datatype[0] & 0x0F, datatype[1] & 0x0F == 1
        if type_class != _STRING and not (type_class == _VARIABLE_LENGTH and is_text):
            raise WeightsError(f"the attribute {name} is not text")
        if len(shape) > 1 or max(shape, default=1) > MAX_HDF5_MEMBERS:
            raise WeightsError(f"the attribute {name} has too many strings")
        count = max(shape, default=1)
        if count * size > len(data):
            raise WeightsError(f"the attribute {name} is longer than its storage")
        if type_class == _STRING:
            fixed = [data[i * size : (i + 1) * size] for i in range(count)]
            return [value.split(b"\0", 1)[0] for value in fixed]
        return [self._text(name, *_REFERENCE.unpack_from(data, i * size)) for i in range(count)]

    def _text(self, name: str, length: int, heap: int, index: int) -> bytes:
        if length == 0:
            return b""
        if length > MAX_JSON_BYTES:
            raise WeightsError(f"the attribute {name} has more than {MAX_JSON_BYTES:,} bytes")
        value = self._heap(heap).get(index, b"")
        if length > len(value):
            raise WeightsError(f"the attribute {name} is longer than its storage")
        return value[:length]

    def _heap(self, address: int) -> dict[int, bytes]:
        """Returns the objects of a global heap by their numbers."""
        if address in self._heaps:
            return self._heaps[address]
        if len(self._heaps) >= MAX_HDF5_HEAPS:
            raise WeightsError(f"it has more than {MAX_HDF5_HEAPS} HDF5 heaps")
        signature, version, heap_size = _HEAP.unpack(self._content.read(address, _HEAP.size))
        if (signature, version) != (b"GCOL", 1):
            raise WeightsError(f"there is no HDF5 heap at byte {address}")
        heap = self._content.read(address, heap_size)
        objects: dict[int, bytes] = {}
        offset = _HEAP.size
        while offset + _HEAP_OBJECT.size <= len(heap):
            index, _, _, size = _HEAP_OBJECT.unpack_from(heap, offset)
            offset += _HEAP_OBJECT.size
            # Number 0 marks free space up to the end.
            if index == 0:
                break
            if offset + size > len(heap):
                raise WeightsError(f"the HDF5 heap at byte {address} is damaged")
            objects[index] = heap[offset : offset + size]
            offset += -(-size // 8) * 8
        self._heaps[address] = objects
        return objects
