"""Reads a folder of photos as the study's two loaders did."""

import argparse
import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import numpy as np
from PIL import Image

# Suffixes that `keras_preprocessing` 1.0.5 and torchvision 0.2.1 looked for.
_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".tif", ".tiff"}

Load = Callable[[Path, int], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Split:
    """Pixels, uint8 `[images, size, size, 3]` or `[images, size, size]`, and their labels."""

    pixels: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        """Number of images."""
        return len(self.labels)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that `read` needs to a command."""
    parser.add_argument("--data", type=Path, required=True, help="folder {train,test}/<class>/*")
    parser.add_argument("--train-list", type=Path, help="paths relative to --data, one a line")
    parser.add_argument("--test-list", type=Path, help="likewise")
    parser.add_argument("--seed", type=int, default=0)


def read(arguments: argparse.Namespace, size: int, load: Load) -> tuple[Split, Split, list[str]]:
    """Read training photos, test photos and class names, in the order of the study's loaders.

    Raises:
        SystemExit: If a split has no photo, a photo or list cannot be read, there is only one
            class, or the test photos have a class that the training photos lack.
    """
    splits = []
    classes: list[str] = []
    for purpose, chosen in (("train", arguments.train_list), ("test", arguments.test_list)):
        paths = _listed(arguments.data, chosen) if chosen else _found(arguments.data / purpose)
        if not paths:
            refuse(
                f"no photos in {chosen or arguments.data / purpose}: the photos of a class "
                f"lie in {arguments.data / purpose}/<class>/"
            )
        classes = classes or sorted({path.parent.name for path in paths})
        if len(classes) < 2:
            refuse(f"{purpose} has one class, {classes[0]}: two are needed")
        strange = {path.parent.name for path in paths} - set(classes)
        if strange:
            refuse(f"{purpose} has the class {strange.pop()}, train does not")
        labels = np.array([classes.index(path.parent.name) for path in paths])
        splits.append(Split(np.stack([_loaded(load, path, size) for path in paths]), labels))
    return splits[0], splits[1], classes


def refuse(message: str) -> NoReturn:
    """End the command with an error message and exit code 2, as argparse does."""
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(2)


def _found(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*/*") if path.suffix.lower() in _SUFFIXES)


def _listed(root: Path, chosen: Path) -> list[Path]:
    try:
        lines = chosen.read_text(encoding="utf-8").split("\n")
    except OSError as error:
        refuse(f"{chosen}: {error.strerror}")
    except UnicodeDecodeError:
        refuse(f"{chosen} is no text in UTF-8: list paths relative to --data, one a line")
    return [root / line for line in lines if line]


def _loaded(load: Load, path: Path, size: int) -> np.ndarray:
    try:
        return load(path, size)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        # Pillow raises these; only some of its messages name the file.
        refuse(f"{path} cannot be read: {error}")


def positive(text: str) -> int:
    """Parse an option's value, an integer of at least 1."""
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {text}")
    return int(text)


def check_save(path: Path | None, suffix: str) -> None:
    """Check before the training that the weights can be saved.

    Raises:
        SystemExit: If the name does not end in `suffix` or its folder does not exist.
    """
    if path and not path.name.endswith(suffix):
        refuse(f"--save {path} must end in {suffix}")
    if path and not path.absolute().parent.is_dir():
        refuse(f"--save {path}: there is no folder {path.parent}")


def keras_pixels(path: Path, size: int) -> np.ndarray:
    """RGB pixels, resized by nearest neighbour, as `keras_preprocessing.image.load_img` does."""
    with Image.open(path) as image:
        return keras_resize(image, size)


def keras_resize(image: Image.Image, size: int) -> np.ndarray:
    """Convert and resize a decoded image, as `keras_pixels` does."""
    rgb = image.convert("RGB")
    return np.asarray(rgb.resize((size, size), Image.Resampling.NEAREST))


def torch_pixels(path: Path, size: int, stock: bool = False) -> np.ndarray:
    """Gray pixels after bilinear resizing, as torchvision's transforms do; see `torch_resize`."""
    with Image.open(path) as image:
        return torch_resize(image, size, stock)


def torch_resize(image: Image.Image, size: int, stock: bool = False) -> np.ndarray:
    """Resize a decoded image and convert it to gray, as `torch_pixels` does.

    Pillow 5.3 resampled the rows first, and truncated the gray values. Today's Pillow resamples the
    columns first in tall images, and rounds the gray values; `stock` selects this.
    """
    rgb = image.convert("RGB")
    if stock:
        return np.asarray(rgb.resize((size, size), Image.Resampling.BILINEAR).convert("L"))
    rows = rgb.resize((size, rgb.height), Image.Resampling.BILINEAR)
    pixels = np.asarray(rows.resize((size, size), Image.Resampling.BILINEAR)).astype(np.uint32)
    weights = np.array([19595, 38470, 7471], np.uint32)
    return ((pixels * weights).sum(-1) >> 16).astype(np.uint8)
