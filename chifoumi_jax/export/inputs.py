"""Photos for the comparison of an export: the run's own, those of a folder, or rendered hands."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int32, UInt8

from chifoumi_jax.callbacks import OnProgress
from chifoumi_jax.data.problems import DataError
from chifoumi_jax.prediction.classifier import Classifier
from chifoumi_jax.training import run
from chifoumi_jax.training.run import RunError

if TYPE_CHECKING:
    from chifoumi_jax.data.dataset import Dataset, Split


# An export is compared on at least this many photos.
_MIN_PHOTOS = 8
# And on at most this many; the first ones are of different classes.
_MAX_COMPARED = 24
# Hands to draw of each gesture if there are no photos: to compare outputs, and to measure an
# accuracy. Drawing one takes some hundredths of a second.
_HANDS_TO_COMPARE, _HANDS_TO_MEASURE, _HAND_SIZE = 4, 34, (160, 120)
# Photos to measure an accuracy on. More would cost time, and show no more about a change of a few
# percentage points.
_MAX_PHOTOS = 300


@dataclasses.dataclass(frozen=True)
class Inputs:
    """Photos of all classes, as the run's network takes them.

    Attributes:
        origin: Where they come from, in words.
        pixels: Pixels of each photo, as `Classifier.pixels` gives them.
        labels: Classes of the photos; None if these are not the run's classes.
        ranges: Pixels of photos that set the ranges of a quantisation: training photos if there are
            any.
        picture: `picture(i)` is the photo itself: RGB in its own size.
    """

    origin: str
    pixels: UInt8[np.ndarray, "images ..."]
    labels: Int32[np.ndarray, " images"] | None
    ranges: UInt8[np.ndarray, "range_images ..."]
    picture: Callable[[int], UInt8[np.ndarray, "height width 3"]]

    @property
    def compared(self) -> UInt8[np.ndarray, "images ..."]:
        """Pixels of some photos of all classes, on which all outputs are compared."""
        return self.pixels[:_MAX_COMPARED]


def gather(
    directory: Path,
    classifier: Classifier,
    data: Path | None,
    progress: OnProgress | None = None,
    *,
    measure_accuracy: bool = False,
) -> Inputs:
    """The photos to compare on: of `data` if given, else the run's own, else rendered hands.

    Args:
        directory: The run's folder.
        classifier: The run's model.
        data: Folder of labelled photos, if any.
        progress: Called with the number of photos decoded so far and the number of all photos.
        measure_accuracy: Whether the export's accuracy is measured on them, which needs more
            rendered hands.

    Raises:
        DataError: If `data` has too few photos.
    """
    if data is not None:
        return _folder_photos(classifier, data, progress)
    try:
        return own_photos(directory, classifier, progress)
    except (DataError, OSError, RunError) as error:
        number = _HANDS_TO_MEASURE if measure_accuracy else _HANDS_TO_COMPARE
        return _rendered_hands(classifier, str(error), number)


def own_photos(
    directory: Path, classifier: Classifier, progress: OnProgress | None = None
) -> Inputs:
    """The photos that the run was tested on.

    Raises:
        DataError: If they no longer exist, have changed, or are too few.
        RunError: If the model has no run's folder.
    """
    from chifoumi_jax.data.dataset import hands_path, load_dataset

    if not run.is_run(directory):
        raise RunError("the model's file contains no photos")
    recipe = classifier.recipe
    folder = recipe.data or hands_path()
    if not folder.is_dir():
        raise DataError(f"{folder} no longer exists")
    without_hands = recipe.replace(hands=0)
    dataset = load_dataset(without_hands, folder, Path(tempfile.gettempdir()), progress)
    _, config = run.read_config(directory)
    if dataset.scan.fingerprint != config["data"]["fingerprint"]:
        raise DataError(f"the photos in {folder} have changed")
    split, name = _large_enough_split(dataset, folder)
    return _select(f"the run's own {name} photos", classifier, dataset, split)


def _folder_photos(classifier: Classifier, data: Path, progress: OnProgress | None) -> Inputs:
    from chifoumi_jax.data.dataset import load_dataset

    recipe = classifier.recipe.replace(
        data=data, groups=None, train_list=None, test_list=None, strict=False
    )
    dataset = load_dataset(
        recipe, data, Path(tempfile.gettempdir()), progress, classes=classifier.classes
    )
    split, name = _large_enough_split(dataset, data)
    split_name = f"{name} " if (data / "train").is_dir() else ""
    return _select(f"the {split_name}photos in {data}", classifier, dataset, split)


def _large_enough_split(dataset: Dataset, folder: Path) -> tuple[Split, str]:
    splits = {"test": dataset.test, "training": dataset.train, "validation": dataset.valid}
    for name, split in splits.items():
        if len(split) >= _MIN_PHOTOS:
            return split, name
    raise DataError(f"{folder} has fewer than {_MIN_PHOTOS} photos of the run's classes")


def _select(origin: str, classifier: Classifier, dataset: Dataset, split: Split) -> Inputs:
    from chifoumi_jax.data.decode import open_checked, to_rgb

    chosen = balanced_indices(split.labels, _MAX_PHOTOS)

    def picture(index: int) -> np.ndarray:
        path = dataset.scan.root / split.photos[chosen[index]].path
        with open_checked(path) as image:
            return np.asarray(to_rgb(image, upright=classifier.recipe.upright))

    for_ranges = dataset.train if len(dataset.train) >= _MIN_PHOTOS else split
    return Inputs(
        f"{len(chosen)} of {origin}" if len(chosen) < len(split) else origin,
        dataset.pixels[split.rows[chosen]],
        split.labels[chosen],
        dataset.pixels[for_ranges.rows[balanced_indices(for_ranges.labels, 100)]],
        picture,
    )


def balanced_indices(
    labels: Int32[np.ndarray, " images"], most: int
) -> Int32[np.ndarray, " chosen"]:
    """Indices of at most `most` images, taken from the classes in turn, one of each at a time."""
    rank = np.zeros(len(labels), np.int64)
    for label in np.unique(labels):
        is_label = labels == label
        rank[is_label] = np.arange(is_label.sum())
    return np.lexsort((labels, rank))[:most].astype(np.int32)


def _rendered_hands(classifier: Classifier, reason: str, number: int) -> Inputs:
    from chifoumi_jax.hands import GESTURES, render

    has_all = set(GESTURES) <= set(classifier.classes)
    repetitions = number if has_all else _HANDS_TO_COMPARE
    gestures = [gesture for _ in range(repetitions) for gesture in GESTURES]

    def draw(split: str) -> list[np.ndarray]:
        return [
            render(gesture, seed=index // len(GESTURES), size=_HAND_SIZE, split=split)
            for index, gesture in enumerate(gestures)
        ]

    pictures = draw("test")
    return Inputs(
        f"rendered hands ({reason}; name photos with --data)",
        _stack(classifier, pictures),
        (
            np.array([classifier.classes.index(name) for name in gestures], np.int32)
            if has_all
            else None
        ),
        _stack(classifier, draw("train")),
        lambda index: pictures[index],
    )


def _stack(classifier: Classifier, pictures: Sequence[np.ndarray]) -> np.ndarray:
    return np.stack([classifier.pixels(picture) for picture in pictures])
