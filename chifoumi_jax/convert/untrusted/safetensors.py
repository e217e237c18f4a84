"""Reading a safetensors file: a header in JSON, and the tensors' bytes one after the other.

The header decides everything, so that it is checked by itself. The library's own reader takes the
last of two tensors of one name, and judges no header before it has parsed up to 100 MB of it.
"""

import math
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np

from chifoumi_jax.convert.untrusted.errors import WeightsError
from chifoumi_jax.convert.untrusted.limits import MAX_JSON_BYTES
from chifoumi_jax.convert.untrusted.stored import Stored
from chifoumi_jax.convert.untrusted.strict_json import parse

_LENGTH_BYTES = 8
_METADATA = "__metadata__"
# PyTorch counts batches in int64.
_DTYPES = {"F32": "float32", "F64": "float64", "I64": "int64"}
_FIELDS = {"dtype", "shape", "data_offsets"}


def read_safetensors(file: BinaryIO, *, widen: bool = False) -> dict[str, Stored]:
    """The tensors of a safetensors file, none of which is read yet.

    Args:
        file: The file, open for reading, which must stay open until they are.
        widen: Give float16 as float32; else it is refused.

    Raises:
        WeightsError: If the header is damaged, or does not describe the file byte for byte.
    """
    header, start, file_bytes = _header(file)
    header.pop(_METADATA, None)
    dtypes = _DTYPES | ({"F16": "float16"} if widen else {})
    extents = {name: _extent(name, entry, dtypes) for name, entry in header.items()}
    _check_cover(extents, file_bytes - start)
    return {
        name: _stored(file, name, entry, start + extents[name][0], dtypes)
        for name, entry in header.items()
    }


def read_metadata(file: BinaryIO) -> dict[str, str]:
    """The texts that a safetensors file carries beside its tensors.

    Raises:
        WeightsError: If the header is damaged, or there is something else than texts.
    """
    header, _, _ = _header(file)
    found = header.get(_METADATA, {})
    if not isinstance(found, dict) or not all(isinstance(text, str) for text in found.values()):
        raise WeightsError("its metadata are something else than texts")
    return found


def _header(file: BinaryIO) -> tuple[dict[str, Any], int, int]:
    """The parsed header, where the tensors start, and the file's size."""
    file_bytes = file.seek(0, 2)
    file.seek(0)
    header_bytes = int.from_bytes(file.read(_LENGTH_BYTES), "little")
    if header_bytes > min(MAX_JSON_BYTES, file_bytes - _LENGTH_BYTES):
        raise WeightsError(
            f"its header would have {header_bytes:,} bytes; the file has {file_bytes:,}, "
            f"and more than {MAX_JSON_BYTES:,} are not read"
        )
    header = parse(file.read(header_bytes), "its header")
    if not isinstance(header, dict):
        raise WeightsError("its header is no JSON object")
    return header, _LENGTH_BYTES + header_bytes, file_bytes


def _extent(name: str, entry: Any, dtypes: Mapping[str, str]) -> tuple[int, int]:
    """First byte and the one after the last, if they are as many as the shape says."""
    if not isinstance(entry, dict) or entry.keys() != _FIELDS:
        raise WeightsError(f"{name} is not described by {', '.join(sorted(_FIELDS))}")
    shape, offsets = entry["shape"], entry["data_offsets"]
    if not _naturals(shape) or not _naturals(offsets) or len(offsets) != 2:
        raise WeightsError(f"{name} has the shape {shape} and the offsets {offsets}")
    dtype = dtypes.get(str(entry["dtype"]))
    if dtype is None:
        raise WeightsError(f"{name} is {entry['dtype']}; expected {' or '.join(dtypes)}")
    needed = math.prod(shape) * np.dtype(dtype).itemsize
    if offsets[1] - offsets[0] != needed:
        raise WeightsError(
            f"{name} of shape {shape} takes {needed:,} bytes, but its offsets are {offsets}"
        )
    return offsets[0], offsets[1]


def _naturals(value: Any) -> bool:
    return isinstance(value, list) and all(type(item) is int and item >= 0 for item in value)


def _check_cover(extents: dict[str, tuple[int, int]], data_bytes: int) -> None:
    place = 0
    for name, (start, end) in sorted(extents.items(), key=lambda item: item[1]):
        if start != place:
            raise WeightsError(f"{name} starts at byte {start:,}; expected {place:,}")
        place = end
    if place != data_bytes:
        raise WeightsError(
            f"its tensors take {place:,} bytes, but it has {data_bytes:,}; it may be truncated"
        )


def _stored(
    file: BinaryIO, name: str, entry: dict[str, Any], offset: int, dtypes: Mapping[str, str]
) -> Stored:
    dtype = np.dtype(dtypes[entry["dtype"]])
    given = np.dtype("float32") if dtype == np.float16 else dtype
    shape = tuple(entry["shape"])

    def read() -> np.ndarray:
        file.seek(offset)
        content = file.read(math.prod(shape) * dtype.itemsize)
        if len(content) != math.prod(shape) * dtype.itemsize:
            raise WeightsError(f"{name} ends early: the file became shorter")
        return np.frombuffer(content, dtype.newbyteorder("<")).reshape(shape).astype(given)

    return Stored(shape, str(given), read)
