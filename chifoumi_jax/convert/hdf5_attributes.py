"""The texts in the attributes of an HDF5 file, read without HDF5.

HDF5 1.14 trusts what leads to a text of variable length. Among files of Keras with some bytes of
their structure changed at random, 1 in 2,000 made it walk through a heap for ever, and 1 in 30,000
made it take 2 GiB for one word. Nothing of the kind was found in what else is asked of it here.
"""

import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from chifoumi_jax.convert.errors import WeightsError
from chifoumi_jax.convert.limits import (
    MAX_HDF5_BLOCK_BYTES,
    MAX_HDF5_BLOCKS,
    MAX_HDF5_HEAPS,
    MAX_HDF5_MEMBERS,
    MAX_HDF5_MESSAGES,
    MAX_JSON_BYTES,
)

_ATTRIBUTE, _CONTINUATION, _ATTRIBUTE_INFO = 0x0C, 0x10, 0x15
_NO_ADDRESS = 2**64 - 1
_SHARED = 0x02
_STRING, _VARIABLE = 3, 9
_REFERENCE = struct.Struct("<IQI")
_HEAP_OBJECT = struct.Struct("<HHIQ")
_HEAP_HEADER_BYTES = 16


class _Message(NamedTuple):
    kind: int
    flags: int
    data: bytes


class Attributes:
    """Reads attributes that hold text, of files whose addresses count from the start."""

    def __init__(self, file: BinaryIO):
        self._file = file
        self._heaps: dict[int, dict[int, bytes]] = {}

    def texts(self, header: int, name: str) -> list[str] | None:
        """The strings in an attribute, one or some; None if there is no such attribute.

        Args:
            header: Address of the header of the object whose attribute it is.
            name: The attribute's name.

        Raises:
            WeightsError: If it holds something else, is too long, not UTF-8, or damaged.
        """
        try:
            for message in self._messages(header):
                if message.kind == _ATTRIBUTE_INFO and _lie_apart(message.data):
                    raise WeightsError("its attributes are too many or too large")
                if message.kind == _ATTRIBUTE:
                    found, values = self._attribute(message, name)
                    if found:
                        return [value.decode() for value in values]
        except (struct.error, IndexError, UnicodeDecodeError) as error:
            raise WeightsError(f"the attribute {name} cannot be read: {error}") from error
        return None

    def _messages(self, header: int) -> Iterator[_Message]:
        """The messages of an object's header, of the first format or the second."""
        start = self._read(header, 32)
        if start.startswith(b"OHDR"):
            flags = start[5]
            place = 6 + (16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0)
            width = 1 << (flags & 3)
            size = int.from_bytes(self._read(header + place, width), "little")
            blocks = [(header + place + width, size)]
            head = struct.Struct("<BHB2x" if flags & 0x04 else "<BHB")
            edge = 4
        else:
            blocks = [(header + 16, struct.unpack_from("<8xI", start)[0])]
            head = struct.Struct("<HHB3x")
            edge = 0
        count = 0
        for place, size in blocks:
            for message in _split(self._read(place, size), head):
                yield message
                count += 1
                if message.kind == _CONTINUATION:
                    place, size = struct.unpack_from("<QQ", message.data)
                    # In the second format a signature and a checksum enclose it.
                    blocks.append((place + edge, size - 2 * edge))
                if len(blocks) > MAX_HDF5_BLOCKS or count > MAX_HDF5_MESSAGES:
                    raise WeightsError("an HDF5 header has too many parts")

    def _attribute(self, message: _Message, name: str) -> tuple[bool, list[bytes]]:
        """Whether this is the attribute `name`, and its values if so."""
        data = message.data
        version, _, name_size, type_size, space_size = struct.unpack_from("<BBHHH", data)
        # The first version pads each part to 8 bytes, the third says how the name is encoded.
        pad = 8 if version == 1 else 1
        place = 9 if version == 3 else 8
        parts = []
        for size in (name_size, type_size, space_size):
            parts.append(data[place : place + size])
            place += -(-size // pad) * pad
        if parts[0].rstrip(b"\0") != name.encode():
            return False, []
        if message.flags & _SHARED or (version > 1 and data[1]):
            raise WeightsError(f"the attribute {name} is described elsewhere")
        return True, self._values(name, parts[1], _count(parts[2]), data[place:])

    def _values(self, name: str, kind: bytes, count: int, data: bytes) -> list[bytes]:
        # Keras writes an empty list as an array of floats.
        if count == 0:
            return []
        (size,) = struct.unpack_from("<I", kind, 4)
        class_number, is_text = kind[0] & 0x0F, kind[1] & 0x0F == 1
        if class_number != _STRING and not (class_number == _VARIABLE and is_text):
            raise WeightsError(f"the attribute {name} is no text")
        if count > MAX_HDF5_MEMBERS:
            raise WeightsError(f"the attribute {name} has {count} texts; that is too many")
        if count * size > len(data):
            raise WeightsError(f"the attribute {name} is longer than its place")
        if class_number == _STRING:
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
            raise WeightsError(f"the attribute {name} is longer than its place")
        return value[:length]

    def _heap(self, address: int) -> dict[int, bytes]:
        """The objects of a global heap by their numbers."""
        if address in self._heaps:
            return self._heaps[address]
        if len(self._heaps) >= MAX_HDF5_HEAPS:
            raise WeightsError(f"it has more than {MAX_HDF5_HEAPS} HDF5 heaps")
        header = self._read(address, _HEAP_HEADER_BYTES)
        if not header.startswith(b"GCOL\1"):
            raise WeightsError(f"there is no HDF5 heap at byte {address}")
        heap = self._read(address, int.from_bytes(header[8:], "little"))
        objects: dict[int, bytes] = {}
        place = _HEAP_HEADER_BYTES
        while place + _HEAP_OBJECT.size <= len(heap):
            index, _, _, size = _HEAP_OBJECT.unpack_from(heap, place)
            place += _HEAP_OBJECT.size
            # What has the number 0 is free, up to the end.
            if index == 0:
                break
            if place + size > len(heap):
                raise WeightsError(f"the HDF5 heap at byte {address} is damaged")
            objects[index] = heap[place : place + size]
            place += -(-size // 8) * 8
        self._heaps[address] = objects
        return objects

    def _read(self, place: int, size: int) -> bytes:
        if not 0 <= size <= MAX_HDF5_BLOCK_BYTES:
            raise WeightsError(f"an HDF5 header or heap would have {size:,} bytes")
        # Larger addresses than files can have are no addresses.
        if place >= 2**63:
            raise WeightsError(f"there is no byte {place:,}")
        self._file.seek(place)
        content = self._file.read(size)
        if len(content) < size:
            raise WeightsError("an HDF5 header or heap ends early; it may be truncated")
        return content


def _split(block: bytes, head: struct.Struct) -> Iterator[_Message]:
    place = 0
    while place + head.size <= len(block):
        kind, size, flags = head.unpack_from(block, place)
        place += head.size
        if place + size > len(block):
            raise WeightsError("an HDF5 header is damaged")
        yield _Message(kind, flags, block[place : place + size])
        place += size


def _lie_apart(info: bytes) -> bool:
    """Whether attributes lie in a structure of their own, as HDF5 keeps more than eight."""
    (address,) = struct.unpack_from("<Q", info, 4 if info[1] & 0x01 else 2)
    return bool(address != _NO_ADDRESS)


def _count(space: bytes) -> int:
    """Number of elements: none for the null space, one for a scalar."""
    version, rank, _, kind = struct.unpack_from("<BBBB", space)
    if version == 2 and kind == 2:
        return 0
    count = 1
    for axis in range(rank):
        count *= struct.unpack_from("<Q", space, (4 if version == 2 else 8) + 8 * axis)[0]
    return count
