"""Reads safetensors files: a JSON header, followed by the tensors' bytes.

The header decides how every byte is read, so it is checked here first. The library's own reader
takes the last of two tensors with the same name, and parses up to 100 MB of a header before it
checks it.
"""

import math
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np

from chifoumi_jax.convert.untrusted.errors import WeightsError
from chifoumi_jax.convert.untrusted.limits import MAX_JSON_BYTES
from chifoumi_jax.convert.untrusted.stored import StoredTensor
from chifoumi_jax.convert.untrusted.strict_json import parse

_LENGTH_BYTES = 8
_METADATA = "__metadata__"
# int64 is for PyTorch's batch counters.
_DTYPES = {"F32": "float32", "F64": "float64", "I64": "int64"}
_FIELDS = {"dtype", "shape", "data_offsets"}


def read_safetensors(file: BinaryIO, *, widen: bool = False) -> dict[str, StoredTensor]:
    """Returns the tensors of a safetensors file; none is read yet.

    Args:
        file: The file, open for reading; it must stay open until the tensors are read.
        widen: Read float16 as float32 instead of refusing it.

    Raises:
        WeightsError: If the header is damaged, or does not describe every byte of the file.
    """
    header, start, file_bytes = _header(file)
    header.pop(_METADATA, None)
    dtypes = _DTYPES | ({"F16": "float16"} if widen else {})
    byte_ranges = {name: _byte_range(name, entry, dtypes) for name, entry in header.items()}
    _check_coverage(byte_ranges, file_bytes - start)
    return {
        name: _stored(file, name, entry, start + byte_ranges[name][0], dtypes)
        for name, entry in header.items()
    }


def read_metadata(file: BinaryIO) -> dict[str, str]:
    """Returns the strings in a safetensors file's metadata.

    Raises:
        WeightsError: If the header is damaged, or the metadata has other values than strings.
    """
    header, _, _ = _header(file)
    found = header.get(_METADATA, {})
    if not isinstance(found, dict) or not all(isinstance(text, str) for text in found.values()):
        raise WeightsError("its metadata has values that are not strings")
    return found


def _header(file: BinaryIO) -> tuple[dict[str, Any], int, int]:
    """Returns the parsed header, the offset of the tensors, and the file's size in bytes."""
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
        raise WeightsError("its header is not a JSON object")
    return header, _LENGTH_BYTES + header_bytes, file_bytes


def _byte_range(name: str, entry: Any, dtypes: Mapping[str, str]) -> tuple[int, int]:
    """Returns a tensor's first byte and the one after its last, if they fit shape and dtype."""
    if not isinstance(entry, dict) or entry.keys() != _FIELDS:
        raise WeightsError(f"{name} is not described by {', '.join(sorted(_FIELDS))}")
    shape, offsets = entry["shape"], entry["data_offsets"]
    if not _is_list_of_naturals(shape) or not _is_list_of_naturals(offsets) or len(offsets) != 2:
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


def _is_list_of_naturals(value: Any) -> bool:
    return isinstance(value, list) and all(type(item) is int and item >= 0 for item in value)


def _check_coverage(byte_ranges: dict[str, tuple[int, int]], data_bytes: int) -> None:
    position = 0
    for name, (start, end) in sorted(byte_ranges.items(), key=lambda item: item[1]):
        if start != position:
            raise WeightsError(f"{name} starts at byte {start:,}; expected {position:,}")
        position = end
    if position != data_bytes:
        raise WeightsError(
            f"its tensors take {position:,} bytes, but it has {data_bytes:,}; it may be truncated"
        )


def _stored(
    file: BinaryIO, name: str, entry: dict[str, Any], offset: int, dtypes: Mapping[str, str]
) -> StoredTensor:
    dtype = np.dtype(dtypes[entry["dtype"]])
    result_dtype = np.dtype("float32") if dtype == np.float16 else dtype
    shape = tuple(entry["shape"])

    def read() -> np.ndarray:
        file.seek(offset)
        content = file.read(math.prod(shape) * dtype.itemsize)
        if len(content) != math.prod(shape) * dtype.itemsize:
            raise WeightsError(f"{name} ends early: the file became shorter")
        return np.frombuffer(content, dtype.newbyteorder("<")).reshape(shape).astype(result_dtype)

    return StoredTensor(shape, str(result_dtype), read)
