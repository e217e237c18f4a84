"""The members of an HDF5 group, of the kind that h5py writes: a table of names and addresses."""

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
    """The members of a group: addresses of their headers, by name.

    Args:
        content: The file.
        symbol_table: The message in the group's header that says where they are listed.

    Raises:
        WeightsError: If one is a soft link, if there are too many, or the list is damaged.
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
        for offset, address, kind in _ENTRY.iter_unpack(entries):
            name = _name(names, offset)
            if kind == _SOFT_LINK or address == NO_ADDRESS:
                raise WeightsError(f"{name} is a soft link; expected a plain member")
            if name in members:
                raise WeightsError(f"{name} stands twice in a group")
            members[name] = address
    return members


def _tables(content: Hdf5Bytes, address: int) -> list[int]:
    """Addresses of the tables that a group's tree leads to, if the tree is a single node.

    HDF5 would follow the nodes beside it also in a circle, for ever. A node leads to 32 tables of
    at least four members, so that no group of Keras needs two.
    """
    signature, kind, level, count, *beside = _TREE.unpack(content.read(address, _TREE.size))
    if (signature, kind) != (b"TREE", 0):
        raise WeightsError("an HDF5 group is damaged")
    if level or count > MAX_HDF5_MEMBERS or beside != [NO_ADDRESS, NO_ADDRESS]:
        raise WeightsError(f"a group has more than {MAX_HDF5_MEMBERS} members")
    children = content.read(address + _TREE.size, count * _KEY_AND_CHILD.size)
    return [child for _, child in _KEY_AND_CHILD.iter_unpack(children)]


def _names(content: Hdf5Bytes, address: int) -> bytes:
    signature, version, size, _, place = _HEAP.unpack(content.read(address, _HEAP.size))
    if (signature, version) != (b"HEAP", 0):
        raise WeightsError("an HDF5 group is damaged")
    return content.read(place, size)


def _name(names: bytes, offset: int) -> str:
    end = names.find(b"\0", offset)
    try:
        name = names[offset:end].decode()
    except UnicodeDecodeError as error:
        raise WeightsError(f"the name of a group's member cannot be read: {error}") from error
    if end < 0 or not name or name == "." or "/" in name:
        raise WeightsError(f"a group has a member with the name {name!r}")
    return name
