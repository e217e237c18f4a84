"""The tree of an HDF5 file that nobody has checked.

HDF5 reaches far: links into other files, raw data in other files, one object under many names,
storage that unpacks to anything. Keras uses none of it, so that here a file is a plain tree: every
link is a hard one, every object has one name, every dataset lies in the file as it is.
"""

import contextlib
import io
from collections.abc import Collection, Iterator
from typing import Any, BinaryIO

from chifoumi_jax.convert.errors import WeightsError, about, unreadable
from chifoumi_jax.convert.hdf5_attributes import Attributes
from chifoumi_jax.convert.hdf5_dataset import DAMAGE, stored
from chifoumi_jax.convert.limits import (
    MAX_HDF5_ATTRIBUTES,
    MAX_HDF5_DEPTH,
    MAX_HDF5_MEMBERS,
    MAX_HDF5_OBJECTS,
)
from chifoumi_jax.convert.stored import Stored


class Tree:
    """What an HDF5 file holds, by path without the leading slash; the root is the empty path.

    Attributes:
        datasets: Its datasets, none of them read yet.
    """

    def __init__(self, root: Any, file: BinaryIO, unread: Collection[str]):
        self.datasets: dict[str, Stored] = {}
        self._groups: dict[str, int] = {}
        self._addresses: set[int] = set()
        self._attributes = Attributes(file)
        self._file_bytes = file.seek(0, io.SEEK_END)
        self._unread = unread
        self._visit_group(root, "", depth=0)

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

    def _visit_group(self, group: Any, path: str, depth: int) -> None:
        self._groups[path] = self._count(group, path)
        if depth > MAX_HDF5_DEPTH:
            raise WeightsError(f"{path} lies more than {MAX_HDF5_DEPTH} groups deep")
        for name in _members(group, path or "the root"):
            # What lies there is not even opened.
            if path or name not in self._unread:
                self._visit_member(group, name, f"{path}/{name}" if path else name, depth)

    def _visit_member(self, group: Any, name: str, path: str, depth: int) -> None:
        import h5py

        with unreadable(path, DAMAGE):
            if group.links.get_info(name.encode()).type != h5py.h5l.TYPE_HARD:
                raise WeightsError(f"{path} is a soft or external link; expected a plain member")
            member = h5py.h5o.open(group, name.encode())
        if isinstance(member, h5py.h5g.GroupID):
            self._visit_group(member, path, depth + 1)
        elif isinstance(member, h5py.h5d.DatasetID):
            self._count(member, path)
            with unreadable(path, DAMAGE):
                self.datasets[path] = stored(member, path, self._file_bytes)
        else:
            raise WeightsError(f"{path} is neither a group nor a dataset")

    def _count(self, node: Any, path: str) -> int:
        """The address of a group or dataset, if it is a new one and not one too many."""
        import h5py

        what = path or "the root"
        with unreadable(what, DAMAGE):
            address = h5py.h5o.get_info(node).addr
            attributes = h5py.h5a.get_num_attrs(node)
        if address in self._addresses:
            raise WeightsError(f"{what} is another name of an object that has one already")
        self._addresses.add(address)
        if len(self._addresses) > MAX_HDF5_OBJECTS:
            raise WeightsError(f"it has more than {MAX_HDF5_OBJECTS} groups and datasets")
        if attributes > MAX_HDF5_ATTRIBUTES:
            raise WeightsError(
                f"{what} has {attributes} attributes; at most {MAX_HDF5_ATTRIBUTES} are read"
            )
        return int(address)


@contextlib.contextmanager
def read_tree(file: BinaryIO, *, unread: Collection[str] = ()) -> Iterator[Tree]:
    """Walk through an HDF5 file; its datasets can be read as long as the block lasts.

    Args:
        file: The file, open for reading, and read through Python: HDF5 gets no path.
        unread: Members of the root to leave alone.

    Raises:
        WeightsError: If it is damaged, too large, or no plain tree.
    """
    import h5py

    with unreadable("its HDF5 structure", DAMAGE):
        handle = h5py.File(file, "r")
    with handle:
        with unreadable("its HDF5 structure", DAMAGE):
            plist = handle.id.get_create_plist()
            root = h5py.h5o.open(handle.id, b"/")
            plain = plist.get_sizes() == (8, 8) and not plist.get_userblock()
        if not plain:
            raise WeightsError("its HDF5 addresses are not of eight bytes from the file's start")
        yield Tree(root, file, unread)


def _members(group: Any, what: str) -> list[str]:
    with unreadable(what, DAMAGE):
        count = group.get_num_objs()
        if count > MAX_HDF5_MEMBERS:
            raise WeightsError(f"{what} has {count} members; at most {MAX_HDF5_MEMBERS} are read")
        return [name.decode() for name in group]
