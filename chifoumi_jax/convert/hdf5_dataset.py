"""One dataset of an HDF5 file that nobody has checked."""

import math
from typing import Any

import numpy as np
from jaxtyping import Float

from chifoumi_jax.convert.errors import WeightsError, unreadable
from chifoumi_jax.convert.stored import Stored

# What h5py raises about bytes that it does not understand.
DAMAGE = (
    AttributeError,
    KeyError,
    MemoryError,
    OSError,
    OverflowError,
    RuntimeError,
    TypeError,
    ValueError,
)


def stored(dataset: Any, path: str, file_bytes: int) -> Stored:
    """A dataset that lies in the file as one plain block; it is not read yet.

    Args:
        dataset: Its `h5py.h5d.DatasetID`.
        path: What errors call it.
        file_bytes: How large the file is.

    Raises:
        WeightsError: If it lies elsewhere, in pieces, compressed, or not wholly in the file.
    """
    import h5py

    plist = dataset.get_create_plist()
    if plist.get_external_count():
        raise WeightsError(f"{path} lies in another file")
    if plist.get_layout() != h5py.h5d.CONTIGUOUS or plist.get_nfilters():
        raise WeightsError(
            f"{path} is virtual, compressed or in chunks; Keras writes plain datasets: "
            "load the file with Keras and save it again"
        )
    shape, dtype = tuple(map(int, dataset.shape)), _dtype(dataset.get_type())
    if dtype in ("float32", "float64"):
        needed = math.prod(shape) * np.dtype(dtype).itemsize
        offset = dataset.get_offset()
        if dataset.get_storage_size() != needed or offset is None or offset + needed > file_bytes:
            raise WeightsError(f"{path} does not lie wholly in the file; it may be truncated")

    def read() -> Float[np.ndarray, "..."]:
        array = np.empty(shape, dtype)
        with unreadable(path, DAMAGE):
            dataset.read(h5py.h5s.ALL, h5py.h5s.ALL, array)
        return array

    return Stored(shape, dtype, read)


def _dtype(kind: Any) -> str:
    import h5py

    for name, known in (("float32", h5py.h5t.IEEE_F32LE), ("float64", h5py.h5t.IEEE_F64LE)):
        if kind.equal(known):
            return name
    # `TypeVlenID` and the like; a `TypeFloatID` has another size or byte order.
    return f"of HDF5's {type(kind).__name__.removesuffix('ID')}"
