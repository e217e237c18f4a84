"""Reads MNIST's four idx files, as the study's loaders did."""

import gzip
from pathlib import Path

import numpy as np

SIZE = 28


def read(folder: Path) -> dict[str, np.ndarray]:
    """`train_images`, `train_labels`, `test_images` and `test_labels`, uint8.

    Args:
        folder: Has the four files, with or without `.gz`.
    """
    found = {}
    for split, prefix in (("train", "train"), ("test", "t10k")):
        images = _content(folder, f"{prefix}-images-idx3-ubyte", header=16)
        found[f"{split}_images"] = images.reshape(-1, SIZE, SIZE)
        found[f"{split}_labels"] = _content(folder, f"{prefix}-labels-idx1-ubyte", header=8)
    return found


def _content(folder: Path, name: str, header: int) -> np.ndarray:
    path = folder / name
    content = path.read_bytes() if path.exists() else gzip.decompress(_packed(path).read_bytes())
    return np.frombuffer(content, np.uint8, offset=header)


def _packed(path: Path) -> Path:
    packed = path.with_name(f"{path.name}.gz")
    if not packed.exists():
        raise SystemExit(f"error: {path} does not exist: name a folder with MNIST's idx files")
    return packed
