"""HDF5's global heaps, where strings of any length lie, checked before HDF5 walks through them.

HDF5 1.14 trusts the sizes in such a heap: one that is zero keeps it walking for ever, one that is
huge leads it out of its memory. Measured: 1 in 2,000 files of Keras with some bytes of their
structure changed at random made it hang here, and nowhere else.
"""

import struct
from collections.abc import Iterator
from mmap import mmap

from chifoumi_jax.convert.errors import WeightsError

# Signature and version; three reserved bytes and the heap's size follow.
_START = b"GCOL\1"
_HEADER_BYTES = 16
_OBJECT = struct.Struct("<HHIQ")


def check_global_heaps(content: bytes | mmap) -> None:
    """Refuse a file with a global heap that is malformed.

    Weights that spell a heap's signature by chance do no harm: only what an address leads to can be
    a heap, and this is an address of eight bytes somewhere in the file.

    Args:
        content: An HDF5 file whose addresses and lengths have eight bytes and count from its start.

    Raises:
        WeightsError: If an object in a heap has an impossible size.
    """
    for start in _occurrences(content, _START):
        if not _well_formed(content, start) and content.find(start.to_bytes(8, "little")) >= 0:
            raise WeightsError(f"its HDF5 heap at byte {start} is damaged")


def _occurrences(content: bytes | mmap, signature: bytes) -> Iterator[int]:
    start = content.find(signature)
    while start >= 0:
        yield start
        start = content.find(signature, start + 1)


def _well_formed(content: bytes | mmap, start: int) -> bool:
    end = start + int.from_bytes(content[start + 8 : start + _HEADER_BYTES], "little")
    if end > len(content):
        return False
    place = start + _HEADER_BYTES
    # What is left at the end may be too small for one more object's header.
    while place + _OBJECT.size <= end:
        index, _, _, size = _OBJECT.unpack_from(content, place)
        # Number 0 is the free space, whose size counts its header; others are padded to 8 bytes.
        place += size if index == 0 else _OBJECT.size + (size + 7) // 8 * 8
        if (index == 0 and size < _OBJECT.size) or place > end:
            return False
    return True
