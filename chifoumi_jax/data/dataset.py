"""From a recipe to labelled pixels: the folder is scanned, and each photo decoded once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int32, UInt8
from PIL import Image

from chifoumi_jax.data.folder import Photo, Scan, scan
from chifoumi_jax.data.hands import RENDERER_VERSION, write_hands
from chifoumi_jax.data.pixels import resize_pixels
from chifoumi_jax.data.store import PixelStore
from chifoumi_jax.recipes import HANDS_TEST, HANDS_TRAIN, Recipe

# Of a folder that does not say what to test on; the study tested on 52 of 346 photos.
TEST_SHARE = 0.15

Progress = Callable[[int, int], None]


@dataclasses.dataclass(frozen=True)
class Split:
    """Labelled images of one split, in the order of the scan.

    Attributes:
        photos: What is known of each.
        rows: Where each stands among the store's pixels.
        labels: Their classes.
    """

    photos: Sequence[Photo]
    rows: Int32[np.ndarray, " images"]
    labels: Int32[np.ndarray, " images"]

    def __len__(self) -> int:
        """Number of images."""
        return len(self.photos)


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A scanned folder and the pixels that the recipe wants of it."""

    scan: Scan
    pixels: UInt8[np.ndarray, "images ..."]
    train: Split
    valid: Split
    test: Split

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, by label."""
        return self.scan.classes


def hands_path() -> Path:
    """Where the rendered hands that stand in for a folder are kept: in the user's cache."""
    from platformdirs import user_cache_path

    name = f"hands-v{RENDERER_VERSION}-{HANDS_TRAIN}-{HANDS_TEST}"
    return user_cache_path("chifoumi", appauthor=False) / name


def hands_folder(progress: Progress | None = None) -> Path:
    """The folder of rendered hands, drawn if it is not there."""
    directory = hands_path()
    if not directory.is_dir():
        directory.parent.mkdir(parents=True, exist_ok=True)
        images = HANDS_TRAIN + HANDS_TEST
        write_hands(directory, images=images, test_images=HANDS_TEST, progress=progress)
    return directory


def load_dataset(
    recipe: Recipe,
    directory: Path,
    store_in: Path,
    progress: Progress | None = None,
    classes: Sequence[str] | None = None,
) -> Dataset:
    """Scan `directory` as the recipe says, and keep every good photo's pixels.

    Args:
        recipe: Says the split, the size and the layout.
        directory: The folder of photos.
        store_in: Folder on the disk that gives the pixels their space.
        progress: Called with the number of files done and of all.
        classes: The classes, where they are known already; then nothing is split.

    Raises:
        DataError: If nothing can be trained on what the folder holds.
    """
    store = PixelStore(store_in, recipe.input_shape)

    def keep(key: str, image: Image.Image) -> None:
        store.add(key, resize_pixels(image, recipe.image_size, recipe.layout, recipe.upright))

    found = scan(
        directory,
        groups=recipe.groups,
        train_list=recipe.train_list,
        test_list=recipe.test_list,
        seed=recipe.seed,
        test_share=TEST_SHARE,
        strict=recipe.strict,
        classes=classes,
        on_image=keep,
        progress=progress,
    )
    splits = (_split(photos, store) for photos in (found.train, found.valid, found.test))
    return Dataset(found, store.pixels(), *splits)


def _split(photos: Sequence[Photo], store: PixelStore) -> Split:
    return Split(
        photos,
        np.array([store.rows[photo.sha256] for photo in photos], np.int32),
        np.array([photo.label for photo in photos], np.int32),
    )
