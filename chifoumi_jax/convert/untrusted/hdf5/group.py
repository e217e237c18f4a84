"""Reads the members of an HDF5 group in h5py's format: a table of names and addresses."""

import struct

from chifoumi_jax.convert.untrusted.errors import WeightsError
from chifoumi_jax.convert.untrusted.hdf5.bytes import NO_ADDRESS, Hdf5Bytes
from chifoumi_jax.convert.untrusted.limits import MAX_HDF5_MEMBERS

_HEAP = struct.Struct("<4sB3xQQQ")
_TREE = struct.Struct("<4sBBHQQ")
_KEY_AND_CHILD = struct.Struct("<QQ")
_TABLE = struct.Struct("<4sBxH")
_ENTRY = struct.Struct("<QQI20x")
_SOFT_LINK = 2


def read_members(content: Hdf5Bytes, symbol_table: bytes) -> dict[str, int]:
    """Returns the addresses of the headers of a group's members, by name.

    Args:
        content: The file.
        symbol_table: The message in the group's header that says where the list is.

    Raises:
        WeightsError: If a member is a soft link, there are too many, or the list is damaged.
    """
    tree, heap = struct.unpack_from("<QQ", symbol_table)
    names = _names(content, heap)
    members: dict[str, int] = {}
    for table in _tables(content, tree):
        signature, version, count = _TABLE.unpack(content.read(table, _TABLE.size))
        if (signature, version) != (b"SNOD", 1):
            raise WeightsError("an HDF5 group is damaged")
        if len(members) + count > MAX_HDF5_MEMBERS:
            raise WeightsError(f"a group has more than {MAX_HDF5_MEMBERS} members")
        entries = content.read(table + _TABLE.size, count * _ENTRY.size)
        for offset, address, node_type in _ENTRY.iter_unpack(entries):
            name = _name(names, offset)
            if node_type == _SOFT_LINK or address == NO_ADDRESS:
                raise WeightsError(f"{name} is a soft link; expected a plain member")
            if name in members:
                raise WeightsError(f"{name} appears twice in a group")
            members[name] = address
    return members


def _tables(content: Hdf5Bytes, address: int) -> list[int]:
    """Returns the addresses of a group's tables, if its tree is a single node.

    HDF5 would follow sibling nodes in a cycle for ever. One node leads to 32 tables with at least
    four members each, so no Keras group needs a second node.
    """
    signature, node_type, level, count, *siblings = _TREE.unpack(content.read(address, _TREE.size))
    if (signature, node_type) != (b"TREE", 0):
        raise WeightsError("an HDF5 group is damaged")
    if level or count > MAX_HDF5_MEMBERS or siblings != [NO_ADDRESS, NO_ADDRESS]:
        raise WeightsError(f"a group has more than {MAX_HDF5_MEMBERS} members")
    children = content.read(address + _TREE.size, count * _KEY_AND_CHILD.size)
    return [child for _, child in _KEY_AND_CHILD.iter_unpack(children)]


def _names(content: Hdf5Bytes, address: int) -> bytes:
    signature, version, size, _, data_address = _HEAP.unpack(content.read(address, _HEAP.size))
    if (signature, version) != (b"HEAP", 0):
        raise WeightsError("an HDF5 group is damaged")
    return content.read(data_address, size)


def _name(names: bytes, offset: int) -> str:
    end = names.find(b"\0", offset)
    try:
        name = names[offset:end].decode()
    except UnicodeDecodeError as error:
        raise WeightsError(f"the name of a group's member cannot be read: {error}") from error
    if end < 0 or not name or name == "." or "/" in name:
        raise WeightsError(f"a group has a member with the name {name!r}")
    return name
