"""Writes a folder of rendered hands in the layout that `--data` reads."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from chifoumi_jax.callbacks import OnProgress
from chifoumi_jax.hands.people import SPLITS
from chifoumi_jax.hands.pose import GESTURES
from chifoumi_jax.hands.render import render_jpeg
from chifoumi_jax.hands.variety import VARIETY, Variety

# The study's photos: 294 to train, 52 to test.
_TEST_SHARE = 52 / 346


class _Picture(NamedTuple):
    split: str
    gesture: str
    number: int
    seed: int
    size: tuple[int, int]


def write_hands(
    directory: Path,
    *,
    images: int = 346,
    test_images: int | None = None,
    seed: int = 0,
    variety: Variety = VARIETY,
    gestures: Sequence[str] = GESTURES,
    progress: OnProgress | None = None,
) -> Path:
    """Writes `directory/{train,test}/{paper,rock,scissors}/*.jpg`, with balanced classes.

    The numbers of pictures in the classes of a split differ by one at most. The pictures are
    rendered into a temporary folder beside `directory`, which appears complete or not at all.

    Args:
        directory: Must not exist, or be empty.
        images: Number of pictures in all.
        test_images: Number of them for testing; by default the study's share.
        seed: Not negative; the same seed gives the same files.
        variety: How much the pictures vary; `WILD` is for models that must work on photos.
        gestures: The classes, which may include `NOTHING`.
        progress: Called with the number of pictures done and the total.

    Returns:
        The directory.

    Raises:
        ValueError: If the numbers are too small for the classes in two splits, or negative.
        FileExistsError: If the directory is not empty, or is a file.
    """
    if test_images is None:
        test_images = round(images * _TEST_SHARE)
    if seed < 0:
        raise ValueError(f"seed must not be negative, but is {seed}")
    num_classes = len(gestures)
    if test_images < num_classes or images - test_images < num_classes:
        raise ValueError(
            f"{images} images, {test_images} of them for tests, leave {images - test_images} for "
            f"training, but each needs at least {num_classes}, one per class: give --images "
            f"{2 * num_classes} --test-images {num_classes} or more"
        )
    _refuse_occupied(directory)
    directory.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
    try:
        temporary.chmod(0o755)
        pictures = list(_pictures(gestures, images - test_images, test_images, seed, variety))
        _render_all(temporary, pictures, variety, progress)
        _refuse_occupied(directory)
        temporary.replace(directory)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return directory


def _refuse_occupied(directory: Path) -> None:
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise FileExistsError(
            f"{directory} exists and is not an empty folder; choose another, or remove it first"
        )


def _pictures(
    gestures: Sequence[str], train: int, test: int, seed: int, variety: Variety
) -> Iterator[_Picture]:
    for split, count in (("train", train), ("test", test)):
        for k in range(count):
            scene, gesture_index = divmod(k, len(gestures))
            gesture = gestures[gesture_index]
            # One random stream per scene, which is drawn once with each gesture: nothing else that
            # varies reveals the gesture, and more pictures do not change the earlier ones.
            rng = np.random.default_rng([seed, SPLITS.index(split), scene])
            long_side = rng.integers(*variety.long_side, endpoint=True)
            aspect = rng.choice(variety.aspects)
            size = (int(long_side * min(1.0, aspect)), int(long_side * min(1.0, 1 / aspect)))
            yield _Picture(split, gesture, scene, int(rng.integers(2**31)), size)


def _render_all(
    folder: Path,
    pictures: list[_Picture],
    variety: Variety,
    progress: OnProgress | None,
) -> None:
    for picture in pictures:
        (folder / picture.split / picture.gesture).mkdir(parents=True, exist_ok=True)

    def draw(picture: _Picture) -> None:
        data = render_jpeg(
            picture.gesture,
            seed=picture.seed,
            size=picture.size,
            split=picture.split,
            variety=variety,
        )
        name = f"{picture.gesture}-{picture.number:04d}.jpg"
        (folder / picture.split / picture.gesture / name).write_bytes(data)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            for done, _ in enumerate(pool.map(draw, pictures), start=1):
                if progress is not None:
                    progress(done, len(pictures))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
