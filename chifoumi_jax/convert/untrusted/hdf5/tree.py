"""The tree of an HDF5 file: every data set and every attribute, checked before it is read."""

import struct
from collections.abc import Collection, Sequence
from typing import BinaryIO

from chifoumi_jax.convert.untrusted.errors import WeightsError, about
from chifoumi_jax.convert.untrusted.hdf5.attributes import Attributes
from chifoumi_jax.convert.untrusted.hdf5.bytes import NO_ADDRESS, Hdf5Bytes
from chifoumi_jax.convert.untrusted.hdf5.dataset import stored
from chifoumi_jax.convert.untrusted.hdf5.group import read_members
from chifoumi_jax.convert.untrusted.hdf5.header import Kind, Message, find, read_header
from chifoumi_jax.convert.untrusted.limits import (
    MAX_HDF5_ATTRIBUTES,
    MAX_HDF5_DEPTH,
    MAX_HDF5_OBJECTS,
)
from chifoumi_jax.convert.untrusted.stored import Stored

# Signature, versions, sizes of addresses and lengths; base, end of file, driver, root's header.
_SUPERBLOCK = struct.Struct("<8sBBBxBBB9xQ8xQQ8xQ")
_SIGNATURE = b"\x89HDF\r\n\x1a\n"


class Tree:
    """What an HDF5 file holds, by path without the leading slash; the root is the empty path.

    Attributes:
        datasets: Its datasets, none of them read yet.
    """

    def __init__(self, file: BinaryIO, *, unread: Collection[str] = ()):
        """Walk through the file, which must stay open as long as a dataset is to be read.

        Args:
            file: The file, open for reading.
            unread: Members of the root to leave alone.

        Raises:
            WeightsError: If it is damaged, too large, or no plain tree.
        """
        self.datasets: dict[str, Stored] = {}
        self._content = Hdf5Bytes(file)
        self._attributes = Attributes(self._content)
        self._groups: dict[str, Sequence[Message]] = {}
        self._addresses: set[int] = set()
        self._unread = unread
        try:
            self._visit(_root(self._content), "", depth=0)
        except (struct.error, IndexError) as error:
            raise WeightsError(f"its HDF5 structure is damaged: {error}") from error

    @property
    def groups(self) -> Collection[str]:
        """Paths of its groups."""
        return self._groups.keys()

    def strings(self, group: str, attribute: str) -> list[str] | None:
        """A group's attribute that holds one string or some; None if it has no such attribute.

        Raises:
            WeightsError: If it is something else, too long or not UTF-8.
        """
        with about(group or "the root"):
            return self._attributes.texts(self._groups[group], attribute)

    def _visit(self, address: int, path: str, depth: int) -> None:
        what = path or "the root"
        if address in self._addresses:
            raise WeightsError(f"{what} is another name of an object that has one already")
        self._addresses.add(address)
        if len(self._addresses) > MAX_HDF5_OBJECTS:
            raise WeightsError(f"it has more than {MAX_HDF5_OBJECTS} groups and datasets")
        with about(what):
            messages = read_header(self._content, address)
            attributes = sum(message.kind == Kind.ATTRIBUTE for message in messages)
            if attributes > MAX_HDF5_ATTRIBUTES:
                raise WeightsError(
                    f"it has {attributes} attributes; at most {MAX_HDF5_ATTRIBUTES} are read"
                )
            members, layout = find(messages, Kind.SYMBOL_TABLE), find(messages, Kind.LAYOUT)
        if members is not None and layout is None:
            self._groups[path] = messages
            self._visit_members(members, path, depth)
        elif layout is not None and members is None:
            self.datasets[path] = stored(self._content, messages, path)
        else:
            raise WeightsError(
                f"{what} is neither a dataset nor a group of plain members, as Keras writes them; "
                "it may have links to other files"
            )

    def _visit_members(self, symbol_table: bytes, path: str, depth: int) -> None:
        if depth > MAX_HDF5_DEPTH:
            raise WeightsError(f"{path} lies more than {MAX_HDF5_DEPTH} groups deep")
        with about(path or "the root"):
            members = read_members(self._content, symbol_table)
        for name, address in members.items():
            # Not even the header of what is left alone is looked at.
            if path or name not in self._unread:
                self._visit(address, f"{path}/{name}" if path else name, depth + 1)


def _root(content: Hdf5Bytes) -> int:
    """The address of the root's header, from the superblock."""
    fields = _SUPERBLOCK.unpack(content.read(0, _SUPERBLOCK.size))
    signature, *format_and_sizes, base, end, driver, root = fields
    if signature != _SIGNATURE:
        raise WeightsError("it is no HDF5 file")
    # Versions of four structures, and the sizes of addresses and lengths.
    if format_and_sizes != [0, 0, 0, 0, 8, 8] or base != 0 or driver != NO_ADDRESS:
        raise WeightsError(
            "it has another HDF5 format than Keras writes: load it with Keras and save it again"
        )
    if end > content.size:
        raise WeightsError(f"it has {content.size:,} of {end:,} bytes; it is truncated")
    return int(root)
