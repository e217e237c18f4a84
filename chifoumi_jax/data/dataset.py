"""From a recipe to labelled pixels: the folder is scanned, and each photo decoded once."""

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

from chifoumi_jax.data import decode, pixels
from chifoumi_jax.data.folder.scanning import Photo, Scan, scan
from chifoumi_jax.data.pixels import resize_pixels
from chifoumi_jax.data.store import PixelStore, trim
from chifoumi_jax.files import cache_path
from chifoumi_jax.hands import GESTURES, RENDERER_VERSION, VARIETY, WILD, WILD_VERSION, write_hands
from chifoumi_jax.recipes import HANDS_TEST, HANDS_TRAIN, Recipe

# Of a folder that does not say what to test on; the study tested on 52 of 346 photos.
TEST_SHARE = 0.15
# Of decoded pixels in the user's cache: 18,000 photos of 600 pixels.
_MAX_CACHE_BYTES = 20_000_000_000

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
    def hands(self) -> str:
        """A fingerprint of the folder's training photos with those mixed in; empty without."""
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
        """Bytes that the pixels of all splits take."""
        images = len(self.train) + len(self.valid) + len(self.test)
        return images * int(np.prod(self.pixels.shape[1:]))


def hands_path(wild: int = 0) -> Path:
    """Where rendered hands are kept, in the user's cache.

    Args:
        wild: How many that vary as much as photos do; 0 for those that stand in for a folder.
    """
    kind = f"wild{WILD_VERSION}-{wild}" if wild else f"{HANDS_TRAIN}-{HANDS_TEST}"
    return cache_path(f"hands-v{RENDERER_VERSION}-{kind}")


def hands_folder(progress: Progress | None = None, *, wild: int = 0) -> Path:
    """The folder at `hands_path`, drawn if it is not there."""
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
        # Another process may have drawn the same ones meanwhile.
        if not directory.is_dir():
            raise
    return directory


def mixed_hands(recipe: Recipe, classes: Sequence[str]) -> int:
    """How many varied hands the recipe mixes into photos of these classes."""
    are_gestures = tuple(name.casefold() for name in classes) == GESTURES
    return recipe.all_hands if are_gestures else 0


def load_dataset(
    recipe: Recipe,
    directory: Path,
    store_in: Path,
    progress: Progress | None = None,
    classes: Sequence[str] | None = None,
    test_share: float = TEST_SHARE,
    divided_later: bool = False,
    wild_hands: Callable[[int], Path] | None = None,
) -> Dataset:
    """Scan `directory` as the recipe says, and keep every good photo's pixels.

    They are kept in the user's cache, by the content of the photos' files, so that the next run
    need not decode them; where that cannot be written to, beside the runs, until the process ends.

    Args:
        recipe: Says the split, the size and the layout.
        directory: The folder of photos.
        store_in: Folder for the pixels where the user's cache cannot be used.
        progress: Called with the number of files done and of all.
        classes: The classes, where they are known already; then nothing is split.
        test_share: Of the photos, to test on, where the folder does not say.
        divided_later: As `folder.scan` has it.
        wild_hands: Gives the folder of so many varied hands; by default `hands_folder`.

    Raises:
        DataError: If nothing can be trained on what the folder holds.
    """
    store = _store(recipe, store_in)

    def keep(key: str, image: Image.Image) -> None:
        resized = resize_pixels(image, recipe.image_size, recipe.layout, recipe.upright)
        store.add(key, resized, *image.size)

    def known(key: str) -> tuple[int, int] | None:
        kept = store.find(key)
        return None if kept is None else (kept.width, kept.height)

    scan_folder = functools.partial(scan, on_image=keep, known=known, progress=progress)
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
    store.retire(_MAX_CACHE_BYTES)
    return data


def _store(recipe: Recipe, store_in: Path) -> PixelStore:
    stores = cache_path("pixels")
    try:
        own = stores / _kind_of_pixels(recipe)
        store = PixelStore(own, recipe.input_shape)
        trim(stores, _MAX_CACHE_BYTES, spare=own)
    except OSError:
        own = Path(tempfile.mkdtemp(prefix=".pixels-", dir=store_in))
        return PixelStore(own, recipe.input_shape, temporary=True)
    return store


@functools.cache
def _loader() -> str:
    """A name for all that decides which pixels a file gives, apart from the recipe."""
    digest = hashlib.sha256(PIL.__version__.encode())
    for module in (decode, pixels):
        digest.update(Path(module.__file__ or "").read_bytes())
    for feature in ("jpg", "libjpeg_turbo", "webp", "avif", "libtiff"):
        digest.update(f"{feature} {features.version(feature)}".encode())
    for package in ("simplejpeg", "pillow-heif"):
        with contextlib.suppress(PackageNotFoundError):
            digest.update(version(package).encode())
    return digest.hexdigest()[:16]


def _kind_of_pixels(recipe: Recipe) -> str:
    upright = "-upright" if recipe.upright else ""
    return f"{recipe.layout}-{recipe.image_size}{upright}-{_loader()}"


def _split(photos: Sequence[Photo], store: PixelStore) -> Split:
    return Split(
        photos,
        np.array([store.rows[photo.sha256] for photo in photos], np.int32),
        np.array([photo.label for photo in photos], np.int32),
    )
