"""Digits from idx files, torchvision's folder and mnist.npz; every fault is one clear sentence."""

import gzip
import io
import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chifoumi_jax.systems.datasets import Digits, DigitsError, read_digits

NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def idx(values: np.ndarray) -> bytes:
    sizes = struct.pack(f">{values.ndim}I", *values.shape)
    return bytes([0, 0, 8, values.ndim]) + sizes + values.tobytes()


def drawn() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    found = []
    for count in (5, 3):
        found.append(rng.integers(0, 256, (count, 28, 28), np.uint8))
        found.append(rng.integers(0, 10, count, np.uint8))
    return found


def write_idx(folder: Path, *, packed: bool = False) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, values in zip(NAMES, drawn(), strict=True):
        content = idx(values)
        (folder / (f"{name}.gz" if packed else name)).write_bytes(
            gzip.compress(content) if packed else content
        )
    return folder


def write_npz(folder: Path) -> Path:
    names = ("x_train", "y_train", "x_test", "y_test")
    values: dict[str, Any] = dict(zip(names, drawn(), strict=True))
    np.savez(folder / "mnist.npz", **values)
    return folder


def arrays(digits: Digits) -> list[np.ndarray]:
    return [digits.train_images, digits.train_labels, digits.test_images, digits.test_labels]


@pytest.mark.parametrize(
    "make",
    [
        lambda path: write_idx(path),
        lambda path: write_idx(path, packed=True),
        lambda path: write_idx(path / "MNIST" / "raw").parent.parent,
        write_npz,
        lambda path: write_npz(path) / "mnist.npz",
    ],
    ids=["idx", "gzipped", "torchvision", "npz in a folder", "npz"],
)
def test_every_form_gives_the_same_digits(make: Callable[[Path], Path], tmp_path: Path) -> None:
    digits = read_digits(make(tmp_path))
    for found, expected in zip(arrays(digits), drawn(), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert "not the known MNIST" in digits.source


def test_mnist_is_recognised() -> None:
    folder = os.environ.get("CHIFOUMI_MNIST")
    if not folder:
        pytest.skip("no MNIST: set CHIFOUMI_MNIST to its folder")
    digits = read_digits(folder)
    assert digits.source.endswith("(MNIST)")
    assert digits.train_images.shape == (60_000, 28, 28)
    assert digits.test_images.shape == (10_000, 28, 28)


def npz_with(name: str, content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, content)
    return file.getvalue()


def npy(values: np.ndarray, shape: tuple[int, ...] | None = None) -> bytes:
    file = io.BytesIO()
    header = np.lib.format.header_data_from_array_1_0(values)
    np.lib.format.write_array_header_1_0(file, header | {"shape": shape or values.shape})
    return file.getvalue() + values.tobytes()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (NAMES[0], b"", "begins with nothing"),
        (NAMES[0], b"\x00\x00\x0d\x03" + bytes(16), "is not an idx file of bytes"),
        (NAMES[0], idx(drawn()[0])[:11], "ends within its header"),
        (NAMES[0], idx(drawn()[0])[:-1], "announces 3,920 bytes and has only 3,919"),
        (NAMES[0], idx(drawn()[0]) + b"x", "announces 3,920 bytes and has more"),
        (NAMES[0], b"\x00\x00\x08\x03" + struct.pack(">3I", 2**31, 28, 28), "at most 600,000"),
        (NAMES[0], idx(drawn()[0][:, 1:]), r"shape \[5, 27, 28\]; expected"),
        (NAMES[1], idx(drawn()[1][1:]), "5 train images and labels of shape"),
        (NAMES[1], idx(drawn()[1] + 10), "digits have 0 to 9"),
        (NAMES[0], gzip.compress(idx(drawn()[0]))[:-9], "cannot be read"),
        ("mnist.npz", b"PK", "cannot be read"),
        ("mnist.npz", npz_with("x_test.npy", b""), "holds no x_train.npy"),
        ("mnist.npz", npz_with("x_train.npy", npy(np.array([{}]))), "expected uint8"),
        (
            "mnist.npz",
            npz_with("x_train.npy", npy(drawn()[0], (2**40, 28, 28))),
            "announces 862,017,116,176,384 bytes and has 3,920",
        ),
    ],
)
def test_a_wrong_file_is_one_sentence_with_its_name(
    name: str, content: bytes, message: str, tmp_path: Path
) -> None:
    folder = write_idx(tmp_path)
    (folder / name).write_bytes(content)
    with pytest.raises(DigitsError, match=message) as error:
        read_digits(folder)
    assert str(folder) in str(error.value) and "\n" not in str(error.value)


def test_an_absent_file_or_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DigitsError, match="does not exist: name the folder"):
        read_digits(tmp_path / "none")
    with pytest.raises(DigitsError, match="holds no digits: expected"):
        read_digits(tmp_path)
    (write_idx(tmp_path) / NAMES[3]).unlink()
    with pytest.raises(DigitsError, match=f"lacks {NAMES[3]}"):
        read_digits(tmp_path)


@settings(max_examples=40)
@given(content=st.binary(max_size=60), packed=st.booleans())
def test_no_bytes_raise_anything_else(
    content: bytes, packed: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = write_idx(tmp_path_factory.mktemp("digits"))
    (folder / NAMES[0]).write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(DigitsError):
        read_digits(folder)
