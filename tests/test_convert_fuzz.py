"""Files of every format with randomly changed bytes, or truncated."""

import functools
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chifoumi_jax.convert import WeightsError, from_keras, from_torch, to_torch
from chifoumi_jax.convert.arrays import cnn_to_arrays, mlp_to_arrays
from tests.weights import (
    Arrays,
    cnn_arrays,
    keras_config,
    mlp,
    mlp_arrays,
    torch_module,
    write_keras,
    write_legacy,
    write_v3,
)


def write_torch(path: Path, **options: Any) -> None:
    import torch

    torch.save(torch_module(3, mlp_arrays()).state_dict(), path, **options)


def write_full_model(path: Path, **options: Any) -> None:
    write_legacy(path, cnn_arrays(), keras_config(legacy=True), **options)


WRITERS: dict[str, Callable[[Path], Any]] = {
    "v3.weights.h5": lambda path: write_v3(path, cnn_arrays()),
    "fixed.h5": write_full_model,
    "text.h5": lambda path: write_full_model(path, as_text=True),
    "keras.keras": lambda path: write_keras(path, cnn_arrays()),
    "zip.pt": write_torch,
    "older.pt": lambda path: write_torch(path, _use_new_zipfile_serialization=False),
    "x.safetensors": lambda path: to_torch(mlp(), path),
}
# Formats with checksums, where no changed weight can pass.
CHECKSUMMED = ("keras.keras", "zip.pt")


def read(path: Path) -> Arrays:
    if path.suffix in (".h5", ".keras"):
        return cnn_to_arrays(from_keras(path))
    return mlp_to_arrays(from_torch(path))


@functools.cache
def valid_content(name: str) -> tuple[bytes, np.ndarray]:
    """Returns a file's content, and the offsets of its bytes that are not weights."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        WRITERS[name](path)
        content, arrays = path.read_bytes(), read(path)
    structure = np.ones(len(content), bool)
    for array in arrays.values():
        start = content.find(array.tobytes())
        assert start >= 0
        structure[start : start + array.nbytes] = False
    # Most of HDF5's structure is unused zeros; leaving them out draws used bytes more often.
    used = np.frombuffer(content, np.uint8) != 0
    return content, np.flatnonzero(structure & used)


def assert_read_or_refused(path: Path, name: str) -> None:
    expected = cnn_arrays() if path.suffix in (".h5", ".keras") else mlp_arrays()
    try:
        found = read(path)
    except WeightsError as error:
        assert str(error).startswith(f"{path}: ")
        return
    for key, array in expected.items():
        assert found[key].shape == array.shape
        assert np.isfinite(found[key]).all()
        if name in CHECKSUMMED:
            assert found[key].tobytes() == array.tobytes()


def with_changes(content: bytes, changes: Iterable[tuple[int, int]]) -> bytes:
    result = bytearray(content)
    for place, value in changes:
        result[place] = value
    return bytes(result)


BYTE_VALUES = st.sampled_from([0, 1, 2, 4, 8, 16, 127, 128, 254, 255]) | st.integers(0, 255)


@pytest.mark.parametrize("name", WRITERS)
@settings(
    deadline=10_000,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_changed_bytes_are_read_or_refused(name: str, tmp_path: Path, data: st.DataObject) -> None:
    content, structure = valid_content(name)
    anywhere = st.integers(0, len(content) - 1)
    place = st.integers(0, len(structure) - 1).map(lambda i: int(structure[i])) | anywhere
    changes = data.draw(st.lists(st.tuples(place, BYTE_VALUES), min_size=1, max_size=6))
    (tmp_path / name).write_bytes(with_changes(content, changes))
    assert_read_or_refused(tmp_path / name, name)


@pytest.mark.parametrize("name", WRITERS)
def test_truncated_files_are_refused(name: str, tmp_path: Path) -> None:
    content, _ = valid_content(name)
    path = tmp_path / name
    for length in (*range(0, 40, 3), *range(40, len(content), len(content) // 40)):
        path.write_bytes(content[:length])
        with pytest.raises(WeightsError):
            read(path)


@pytest.mark.parametrize("name", WRITERS)
@settings(
    deadline=10_000, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(tail=st.binary(max_size=300), length=st.integers(0, 64))
def test_random_bytes_after_a_valid_start_are_refused(
    name: str, tmp_path: Path, tail: bytes, length: int
) -> None:
    (tmp_path / name).write_bytes(valid_content(name)[0][:length] + tail)
    with pytest.raises(WeightsError):
        read(tmp_path / name)


@pytest.mark.parametrize("name", ["v3.weights.h5", "fixed.h5", "older.pt", "x.safetensors"])
def test_a_changed_weight_byte_changes_only_that_weight(name: str, tmp_path: Path) -> None:
    """Without a checksum, the model gets the values that are in the file."""
    arrays = read_unchanged(name, tmp_path)
    content, _ = valid_content(name)
    key = list(arrays)[2]
    place = content.index(arrays[key].tobytes()) + 4 * 100
    (tmp_path / name).write_bytes(with_changes(content, [(place, content[place] ^ 1)]))
    found = read(tmp_path / name)
    differs = {other for other in arrays if found[other].tobytes() != arrays[other].tobytes()}
    assert differs == {key}
    assert np.flatnonzero(found[key] != arrays[key]).size == 1


def read_unchanged(name: str, folder: Path) -> Arrays:
    (folder / name).write_bytes(valid_content(name)[0])
    return read(folder / name)
