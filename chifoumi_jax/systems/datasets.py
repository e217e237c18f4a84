"""Digits as people have them: MNIST's idx files, torchvision's folder, Keras' mnist.npz.

Every file is checked before it is decoded: its size, its header, and that it is whole. Nothing is
unpickled.
"""

from __future__ import annotations

import dataclasses
import functools
import gzip
import hashlib
import io
import math
import struct
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np
from jaxtyping import UInt8

from chifoumi_jax.errors import UserError
from chifoumi_jax.systems.drawn_digits import draw_digits

SIZE = 28
# Numbers of drawn digits to train and to test on; MNIST has as many.
DRAWN = (60_000, 10_000)
# MNIST has 60,000 training images; a tenfold data set still fits.
_MOST_IMAGES = 600_000
_PARTS = {
    "train_images": "train-images-idx3-ubyte",
    "train_labels": "train-labels-idx1-ubyte",
    "test_images": "t10k-images-idx3-ubyte",
    "test_labels": "t10k-labels-idx1-ubyte",
}
_NPZ_NAMES = {
    "train_images": "x_train",
    "train_labels": "y_train",
    "test_images": "x_test",
    "test_labels": "y_test",
}
# MD5 sums of MNIST's pixels and labels, without the headers of the files.
_MNIST = {
    "train_images": "6510e85a72c3e9475c492d559d3770d2",
    "train_labels": "e86ee40d66677c011a9abda399ec8c4d",
    "test_images": "240610fa99e73bfa49df8e7fc24d3206",
    "test_labels": "073c3904dfbd3e141ff8aa01cfde6b15",
}
_IDX_BYTES = 0x08


class DigitsError(UserError, ValueError):
    """A folder or a file of digits cannot be used; the message says why and what to do."""


@dataclasses.dataclass(frozen=True)
class Digits:
    """Gray images of digits and their labels.

    Attributes:
        train_images: Pixels from 0 (background) to 255.
        train_labels: The digits 0 to 9.
        test_images: The images that are not trained on.
        test_labels: Their digits.
        source: Where they come from, and whether they are MNIST.
    """

    train_images: UInt8[np.ndarray, "train 28 28"]
    train_labels: UInt8[np.ndarray, " train"]
    test_images: UInt8[np.ndarray, "test 28 28"]
    test_labels: UInt8[np.ndarray, " test"]
    source: str


def digits(source: str | Path | None = None) -> Digits:
    """The digits in a folder as `read_digits` takes it, or as many drawn ones as MNIST has."""
    if source is not None:
        return read_digits(source)
    return _drawn(*DRAWN)


@functools.cache
def _drawn(*counts: int) -> Digits:
    train, test = (
        np.random.RandomState(seed).randint(0, 10, count).astype(np.uint8)
        for seed, count in enumerate(counts)
    )
    return Digits(draw_digits(train, 0), train, draw_digits(test, 1), test, "drawn digits")


def read_digits(path: str | Path) -> Digits:
    """The digits in a folder, or in a file `mnist.npz`.

    Args:
        path: A folder with the four idx files (with or without `.gz`), with torchvision's
            `MNIST/raw`, or with `mnist.npz`; or that file itself.

    Raises:
        DigitsError: If a file is absent, damaged, too large, or not of digits.
    """
    path = Path(path)
    if not path.exists():
        raise DigitsError(f"{path} does not exist: name the folder with MNIST's files")
    for file in (path, path / "mnist.npz"):
        if file.is_file():
            return _digits(path, {part: _read_npz(file, part) for part in _PARTS})
    for folder in (path, path / "MNIST" / "raw", path / "raw"):
        found = {part: _file_of(folder, name) for part, name in _PARTS.items()}
        present = {part: file for part, file in found.items() if file is not None}
        if len(present) == len(_PARTS):
            return _digits(path, {part: _read_idx(file) for part, file in present.items()})
        if present:
            missing = next(_PARTS[part] for part in found if part not in present)
            raise DigitsError(f"{folder} lacks {missing} (or {missing}.gz)")
    raise DigitsError(
        f"{path} holds no digits: expected {_PARTS['train_images']} and three more idx files (or "
        ".gz), a folder MNIST/raw, or mnist.npz"
    )


def _digits(path: Path, arrays: dict[str, np.ndarray]) -> Digits:
    for split in ("train", "test"):
        images, labels = arrays[f"{split}_images"], arrays[f"{split}_labels"]
        if images.ndim != 3 or images.shape[1:] != (SIZE, SIZE) or not len(images):
            raise DigitsError(
                f"the {split} images in {path} have the shape {list(images.shape)}; expected "
                f"[images, {SIZE}, {SIZE}]"
            )
        if labels.shape != (len(images),):
            raise DigitsError(
                f"{path} has {len(images)} {split} images and labels of shape "
                f"{list(labels.shape)}: the files do not belong together"
            )
        if labels.max() > 9:
            raise DigitsError(f"{path} has the label {labels.max()}; digits have 0 to 9")
    known = all(
        hashlib.md5(np.ascontiguousarray(arrays[part]).tobytes(), usedforsecurity=False).hexdigest()
        == digest
        for part, digest in _MNIST.items()
    )
    kind = "MNIST" if known else "not the known MNIST"
    return Digits(**arrays, source=f"{path} ({kind})")


def _file_of(folder: Path, name: str) -> Path | None:
    for candidate in (name, f"{name}.gz", name.replace("-idx", ".idx")):
        if (folder / candidate).is_file():
            return folder / candidate
    return None


def _read_idx(path: Path) -> np.ndarray:
    """An idx file of bytes: two zero bytes, the type, the number of axes, sizes, the content."""
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            if not packed:
                return _content_of_idx(path, raw)
            with gzip.open(raw) as file:
                return _content_of_idx(path, file)
    except (OSError, EOFError, zlib.error) as error:
        raise DigitsError(f"{path} cannot be read: {error}; download it again") from error


def _content_of_idx(path: Path, file: BinaryIO | gzip.GzipFile) -> np.ndarray:
    magic = file.read(4)
    axes = magic[3] if len(magic) == 4 else 0
    if magic[:3] != bytes([0, 0, _IDX_BYTES]) or not 1 <= axes <= 3:
        raise DigitsError(
            f"{path} is not an idx file of bytes: it begins with {magic.hex(' ') or 'nothing'}"
        )
    header = file.read(4 * axes)
    if len(header) < 4 * axes:
        raise DigitsError(f"{path} ends within its header; download it again")
    shape = struct.unpack(f">{axes}I", header)
    if shape[0] > _MOST_IMAGES or any(side != SIZE for side in shape[1:]):
        raise DigitsError(
            f"{path} announces the shape {list(shape)}; expected at most {_MOST_IMAGES:,} images "
            f"of {SIZE} x {SIZE}"
        )
    size = math.prod(shape)
    content = file.read(size + 1)
    if len(content) != size:
        found = "more" if len(content) > size else f"only {len(content):,}"
        raise DigitsError(f"{path} announces {size:,} bytes and has {found}; download it again")
    return np.frombuffer(content, np.uint8).reshape(shape)


def _read_npz(path: Path, part: str) -> np.ndarray:
    """An array of Keras' `mnist.npz`, which is a zip archive of npy files."""
    name = f"{_NPZ_NAMES[part]}.npy"
    most = _MOST_IMAGES * SIZE * SIZE + 4096
    try:
        with zipfile.ZipFile(path) as archive:
            size = archive.getinfo(name).file_size
            if size > most:
                raise DigitsError(f"{path}: {name} has {size:,} bytes; at most {most:,} are read")
            with archive.open(name) as member:
                content = member.read(most + 1)
        return _content_of_npy(f"{path}: {name}", content)
    except KeyError:
        raise DigitsError(
            f"{path} holds no {name}: expected Keras' mnist.npz with "
            f"{', '.join(_NPZ_NAMES.values())}"
        ) from None
    except (OSError, ValueError, EOFError, zlib.error, zipfile.BadZipFile, RuntimeError) as error:
        if isinstance(error, DigitsError):
            raise
        raise DigitsError(f"{path} cannot be read: {error}; download it again") from error


def _content_of_npy(name: str, content: bytes) -> np.ndarray:
    """An npy file of bytes; its header is compared with its size before anything is allocated."""
    file = io.BytesIO(content)
    version = np.lib.format.read_magic(file)
    if version != (1, 0):
        raise DigitsError(f"{name} has npy format {version}; save it again with numpy.savez")
    shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(file)
    if dtype != np.uint8 or fortran_order:
        raise DigitsError(f"{name} holds {dtype}; expected uint8 in C order")
    left = len(content) - file.tell()
    if math.prod(shape) != left:
        raise DigitsError(f"{name} announces {math.prod(shape):,} bytes and has {left:,}")
    return np.frombuffer(content, np.uint8, offset=file.tell()).reshape(shape)
