"""Loads a recipe's labelled pixels: scans the folder and decodes each photo once."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import tempfile
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import PIL
from jaxtyping import Int32, UInt8
from PIL import Image, features

from chifoumi_jax.callbacks import OnProgress
from chifoumi_jax.data import decode, pixels
from chifoumi_jax.data.folder.scanning import Photo, Scan, scan
from chifoumi_jax.data.pixels import resize_pixels
from chifoumi_jax.data.store import PixelStore, trim
from chifoumi_jax.files import cache_path
from chifoumi_jax.fingerprint import computed
from chifoumi_jax.hands import GESTURES, RENDERER_VERSION, VARIETY, WILD, WILD_VERSION, write_hands
from chifoumi_jax.recipes import HANDS_TEST, HANDS_TRAIN, Recipe

# Test share of a folder that defines no test photos; the study tested on 52 of 346 photos.
TEST_SHARE = 0.15
# Limit of the decoded pixels in the user's cache: 18,000 photos of 600 x 600 pixels.
_MAX_CACHE_BYTES = 20_000_000_000


@dataclasses.dataclass(frozen=True)
class Split:
    """Labelled images of one split, in the order of the scan.

    Attributes:
        photos: Path, class, hash and size of each image.
        rows: Index of each image in the store's pixels.
        labels: Class index of each image.
    """

    photos: Sequence[Photo]
    rows: Int32[np.ndarray, " images"]
    labels: Int32[np.ndarray, " images"]

    def __len__(self) -> int:
        """Number of images."""
        return len(self.photos)


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A scanned folder and its pixels in the recipe's input format."""

    scan: Scan
    pixels: UInt8[np.ndarray, "images ..."]
    train: Split
    valid: Split
    test: Split

    @property
    def hands(self) -> str:
        """A fingerprint of the training photos with mixed-in hands; empty if none are mixed in."""
        if len(self.train) == len(self.scan.train):
            return ""
        hashes = " ".join(photo.sha256 for photo in self.train.photos)
        return hashlib.sha256(hashes.encode()).hexdigest()

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, by label."""
        return self.scan.classes

    @property
    def nbytes(self) -> int:
        """Size of the pixels of all splits, in bytes."""
        images = len(self.train) + len(self.valid) + len(self.test)
        return images * int(np.prod(self.pixels.shape[1:]))


def hands_path(wild: int = 0) -> Path:
    """The folder of rendered hands in the user's cache.

    Args:
        wild: Number of hands that vary as much as photos do; 0 for the default data set, which
            replaces a folder of photos.
    """
    kind = f"wild{WILD_VERSION}-{wild}" if wild else f"{HANDS_TRAIN}-{HANDS_TEST}"
    return cache_path(f"hands-v{RENDERER_VERSION}-{kind}")


def hands_folder(progress: OnProgress | None = None, *, wild: int = 0) -> Path:
    """The folder at `hands_path`; its pictures are rendered if it does not exist."""
    directory = hands_path(wild)
    if directory.is_dir():
        return directory
    directory.parent.mkdir(parents=True, exist_ok=True)
    images, test, variety = HANDS_TRAIN + HANDS_TEST, HANDS_TEST, VARIETY
    if wild:
        images, test, variety = wild + len(GESTURES), len(GESTURES), WILD
    try:
        write_hands(directory, images=images, test_images=test, variety=variety, progress=progress)
    except OSError:
        # Another process may have rendered the same folder meanwhile.
        if not directory.is_dir():
            raise
    return directory


def mixed_hands(recipe: Recipe, classes: Sequence[str]) -> int:
    """Number of varied hands that the recipe mixes into photos of these classes."""
    are_gestures = tuple(name.casefold() for name in classes) == GESTURES
    return recipe.rendered_hands if are_gestures else 0


def load_dataset(
    recipe: Recipe,
    directory: Path,
    store_in: Path,
    progress: OnProgress | None = None,
    classes: Sequence[str] | None = None,
    test_share: float = TEST_SHARE,
    divided_later: bool = False,
    wild_hands: Callable[[int], Path] | None = None,
) -> Dataset:
    """Scan `directory` with the recipe's settings and load the pixels of every good photo.

    The user's cache stores the pixels, keyed by the content of the photos' files, so that the next
    run does not decode them again. If it cannot be written to, they are stored beside the runs
    until the process ends.

    Args:
        recipe: Gives the split, the size and the layout.
        directory: The folder of photos.
        store_in: Folder for the pixels if the user's cache cannot be used.
        progress: Called with the number of files done and the total.
        classes: The classes, if they are known already; then nothing is split.
        test_share: Share of the photos to test on, if the folder defines no test photos.
        divided_later: See `folder.scanning.scan`.
        wild_hands: Returns the folder with this number of varied hands; by default `hands_folder`.

    Raises:
        DataError: If the folder's content cannot be trained on.
    """
    store = _open_store(recipe, store_in)

    def add(key: str, image: Image.Image) -> None:
        resized = resize_pixels(image, recipe.image_size, recipe.layout, recipe.upright)
        store.add(key, resized, *image.size)

    def find(key: str) -> tuple[int, int] | None:
        stored = store.find(key)
        return None if stored is None else (stored.width, stored.height)

    scan_folder = functools.partial(scan, on_image=add, known=find, progress=progress)
    found = scan_folder(
        directory,
        groups=recipe.groups,
        train_list=recipe.train_list,
        test_list=recipe.test_list,
        seed=recipe.seed,
        test_share=test_share,
        divided_later=divided_later,
        valid_share=recipe.valid_share if classes is None else 0.0,
        strict=recipe.strict,
        classes=classes,
    )
    train = list(found.train)
    if classes is None and (wild := mixed_hands(recipe, found.classes)):
        folder = wild_hands(wild) if wild_hands else hands_folder(progress, wild=wild)
        train += scan_folder(folder, classes=GESTURES).train
    splits = (_split(photos, store) for photos in (train, found.valid, found.test))
    data = Dataset(found, store.pixels(), *splits)
    store.remove_if_too_large(_MAX_CACHE_BYTES)
    return data


def _open_store(recipe: Recipe, store_in: Path) -> PixelStore:
    stores = cache_path("pixels")
    try:
        store_directory = stores / _pixel_cache_key(recipe)
        store = PixelStore(store_directory, recipe.input_shape)
        trim(stores, _MAX_CACHE_BYTES, spare=store_directory)
    except OSError:
        store_directory = Path(tempfile.mkdtemp(prefix=".pixels-", dir=store_in))
        return PixelStore(store_directory, recipe.input_shape, temporary=True)
    return store


@functools.cache
def _decoder_version() -> str:
    """Hash of everything besides the recipe that determines the pixels of a file."""
    digest = hashlib.sha256(PIL.__version__.encode())
    for module in (decode, pixels):
        digest.update(computed(Path(module.__file__ or ""), frozenset({"chifoumi_jax"})).encode())
    for feature in ("jpg", "libjpeg_turbo", "webp", "avif", "libtiff"):
        digest.update(f"{feature} {features.version(feature)}".encode())
    for package in ("simplejpeg", "pillow-heif"):
        with contextlib.suppress(PackageNotFoundError):
            digest.update(version(package).encode())
    return digest.hexdigest()[:16]


def _pixel_cache_key(recipe: Recipe) -> str:
    upright = "-upright" if recipe.upright else ""
    return f"{recipe.layout}-{recipe.image_size}{upright}-{_decoder_version()}"


def _split(photos: Sequence[Photo], store: PixelStore) -> Split:
    return Split(
        photos,
        np.array([store.rows[photo.sha256] for photo in photos], np.int32),
        np.array([photo.label for photo in photos], np.int32),
    )
