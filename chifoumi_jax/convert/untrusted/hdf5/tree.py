"""The tree of an HDF5 file; every dataset and attribute is checked before it is read."""

import struct
from collections.abc import Collection, Sequence
from typing import BinaryIO

from chifoumi_jax.convert.untrusted.errors import WeightsError, error_context
from chifoumi_jax.convert.untrusted.hdf5.attributes import Attributes
from chifoumi_jax.convert.untrusted.hdf5.bytes import NO_ADDRESS, Hdf5Bytes
from chifoumi_jax.convert.untrusted.hdf5.dataset import stored_tensor
from chifoumi_jax.convert.untrusted.hdf5.group import read_members
from chifoumi_jax.convert.untrusted.hdf5.header import Message, MessageType, find, read_header
from chifoumi_jax.convert.untrusted.limits import (
    MAX_HDF5_ATTRIBUTES,
    MAX_HDF5_DEPTH,
    MAX_HDF5_OBJECTS,
)
from chifoumi_jax.convert.untrusted.stored import StoredTensor

# Signature, versions, sizes of addresses and lengths, base, end of file, driver, root's header.
_SUPERBLOCK = struct.Struct("<8sBBBxBBB9xQ8xQQ8xQ")
_SIGNATURE = b"\x89HDF\r\n\x1a\n"


class Tree:
    """The content of an HDF5 file by path, without a leading slash; the root is the empty path.

    Attributes:
        datasets: Its datasets; none is read yet.
    """

    def __init__(self, file: BinaryIO, *, ignored: Collection[str] = ()):
        """Walks through the file, which must stay open until all datasets are read.

        Args:
            file: The file, open for reading.
            ignored: Members of the root to skip.

        Raises:
            WeightsError: If it is damaged, too large, or not a plain tree.
        """
        self.datasets: dict[str, StoredTensor] = {}
        self._content = Hdf5Bytes(file)
        self._attributes = Attributes(self._content)
        self._groups: dict[str, Sequence[Message]] = {}
        self._addresses: set[int] = set()
        self._ignored = ignored
        try:
            self._visit(_root(self._content), "", depth=0)
        except (struct.error, IndexError) as error:
            raise WeightsError(f"its HDF5 structure is damaged: {error}") from error

    @property
    def groups(self) -> Collection[str]:
        """The paths of its groups."""
        return self._groups.keys()

    def strings(self, group: str, attribute: str) -> list[str] | None:
        """Returns the strings in a group's attribute; None if it has no such attribute.

        Raises:
            WeightsError: If it does not hold strings, is too long, or is not UTF-8.
        """
        with error_context(group or "the root"):
            return self._attributes.texts(self._groups[group], attribute)

    def _visit(self, address: int, path: str, depth: int) -> None:
        label = path or "the root"
        if address in self._addresses:
            raise WeightsError(f"{label} is a second name of an object")
        self._addresses.add(address)
        if len(self._addresses) > MAX_HDF5_OBJECTS:
            raise WeightsError(f"it has more than {MAX_HDF5_OBJECTS} groups and datasets")
        with error_context(label):
            messages = read_header(self._content, address)
            attributes = sum(message.type == MessageType.ATTRIBUTE for message in messages)
            if attributes > MAX_HDF5_ATTRIBUTES:
                raise WeightsError(
                    f"it has {attributes} attributes; at most {MAX_HDF5_ATTRIBUTES} are read"
                )
            members = find(messages, MessageType.SYMBOL_TABLE)
            layout = find(messages, MessageType.LAYOUT)
        if members is not None and layout is None:
            self._groups[path] = messages
            self._visit_members(members, path, depth)
        elif layout is not None and members is None:
            self.datasets[path] = stored_tensor(self._content, messages, path)
        else:
            raise WeightsError(
                f"{label} is neither a dataset nor a group of plain members, as Keras writes them; "
                "it may have links to other files"
            )

    def _visit_members(self, symbol_table: bytes, path: str, depth: int) -> None:
        if depth > MAX_HDF5_DEPTH:
            raise WeightsError(f"{path} is nested more than {MAX_HDF5_DEPTH} groups deep")
        with error_context(path or "the root"):
            members = read_members(self._content, symbol_table)
        for name, address in members.items():
            # Not even the headers of ignored members are read.
            if path or name not in self._ignored:
                self._visit(address, f"{path}/{name}" if path else name, depth + 1)


def _root(content: Hdf5Bytes) -> int:
    """Returns the address of the root's header, from the superblock."""
    fields = _SUPERBLOCK.unpack(content.read(0, _SUPERBLOCK.size))
    signature, *format_and_sizes, base, end, driver, root = fields
    if signature != _SIGNATURE:
        raise WeightsError("it is not an HDF5 file")
    # Versions of four structures, and the sizes of addresses and lengths.
    if format_and_sizes != [0, 0, 0, 0, 8, 8] or base != 0 or driver != NO_ADDRESS:
        raise WeightsError(
            "it has another HDF5 format than Keras writes: load it with Keras and save it again"
        )
    if end > content.size:
        raise WeightsError(f"it has {content.size:,} of {end:,} bytes; it is truncated")
    return int(root)
