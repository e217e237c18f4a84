"""Real photos to compare an export on: the run's own, those of a folder, or rendered hands."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int32, UInt8

from chifoumi_jax.data.problems import DataError
from chifoumi_jax.prediction.classifier import Classifier
from chifoumi_jax.training import run
from chifoumi_jax.training.run import RunError

if TYPE_CHECKING:
    from chifoumi_jax.data.dataset import Dataset, Split

Progress = Callable[[int, int], None]

# On how many an export is compared at least.
_LEAST = 8
# And at most; the first are of different classes.
_COMPARED = 24
# Hands of each kind to draw where there are no photos, some hundredths of a second each: to compare
# numbers on, and to measure an accuracy on.
_FEW, _MANY, _SIZE = 4, 34, (160, 120)
# More say nothing more of the accuracy of a few points, and cost time.
_MOST = 300


@dataclasses.dataclass(frozen=True)
class Inputs:
    """Photos of all classes, as the run's network takes them.

    Attributes:
        origin: What they are, for people.
        pixels: Of each, as `Classifier.pixels` gives them.
        labels: Their classes; None if they are of other classes than the run's.
        ranges: Others, of the training photos where there are any, to quantise by.
        picture: `picture(i)` is the photo itself: RGB of its own size.
    """

    origin: str
    pixels: UInt8[np.ndarray, "images ..."]
    labels: Int32[np.ndarray, " images"] | None
    ranges: UInt8[np.ndarray, "images ..."]
    picture: Callable[[int], UInt8[np.ndarray, "height width 3"]]

    @property
    def compared(self) -> UInt8[np.ndarray, "images ..."]:
        """Some of all classes, on which every number is compared."""
        return self.pixels[:_COMPARED]


def gather(
    directory: Path,
    classifier: Classifier,
    data: Path | None,
    progress: Progress | None = None,
    *,
    judged: bool = False,
) -> Inputs:
    """The photos to compare on: of `data` if given, else the run's own, else rendered hands.

    Args:
        directory: The run's folder.
        classifier: The run's model.
        data: Folder of labelled photos, if any.
        progress: Is told how many photos are decoded.
        judged: Whether the export's accuracy is measured on them, which takes more hands.

    Raises:
        DataError: If `data` holds too few photos.
    """
    if data is not None:
        return _of_folder(classifier, data, progress)
    try:
        return own(directory, classifier, progress)
    except (DataError, OSError, RunError) as error:
        return _hands(classifier, str(error), _MANY if judged else _FEW)


def own(directory: Path, classifier: Classifier, progress: Progress | None = None) -> Inputs:
    """The photos that the run was tested on.

    Raises:
        DataError: If they are gone, have changed, or are too few.
        RunError: If there is no run.
    """
    from chifoumi_jax.data.dataset import hands_path, load_dataset

    if not run.is_run(directory):
        raise RunError("the model's file brings no photos")
    recipe = classifier.recipe
    folder = recipe.data or hands_path()
    if not folder.is_dir():
        raise DataError(f"{folder} is gone")
    photos_alone = recipe.replace(hands=0)
    found = load_dataset(photos_alone, folder, Path(tempfile.gettempdir()), progress)
    _, config = run.read_config(directory)
    if found.scan.fingerprint != config["data"]["fingerprint"]:
        raise DataError(f"the photos in {folder} have changed")
    split, name = _largest(found, folder)
    return _inputs(f"the run's own {name} photos", classifier, found, split)


def _of_folder(classifier: Classifier, data: Path, progress: Progress | None) -> Inputs:
    from chifoumi_jax.data.dataset import load_dataset

    recipe = classifier.recipe.replace(
        data=data, groups=None, train_list=None, test_list=None, strict=False
    )
    found = load_dataset(
        recipe, data, Path(tempfile.gettempdir()), progress, classes=classifier.classes
    )
    split, name = _largest(found, data)
    kind = f"{name} " if (data / "train").is_dir() else ""
    return _inputs(f"the {kind}photos in {data}", classifier, found, split)


def _largest(found: Dataset, folder: Path) -> tuple[Split, str]:
    splits = {"test": found.test, "training": found.train, "validation": found.valid}
    for name, split in splits.items():
        if len(split) >= _LEAST:
            return split, name
    raise DataError(f"{folder} holds fewer than {_LEAST} photos of the run's classes")


def _inputs(origin: str, classifier: Classifier, found: Dataset, split: Split) -> Inputs:
    from chifoumi_jax.data.decode import open_checked, to_rgb

    chosen = spread(split.labels, _MOST)

    def picture(place: int) -> np.ndarray:
        path = found.scan.root / split.photos[chosen[place]].path
        with open_checked(path) as image:
            return np.asarray(to_rgb(image, upright=classifier.recipe.upright))

    known = found.train if len(found.train) >= _LEAST else split
    return Inputs(
        f"{len(chosen)} of {origin}" if len(chosen) < len(split) else origin,
        found.pixels[split.rows[chosen]],
        split.labels[chosen],
        found.pixels[known.rows[spread(known.labels, 100)]],
        picture,
    )


def spread(labels: Int32[np.ndarray, " images"], most: int) -> Int32[np.ndarray, " images"]:
    """Places of at most so many images, of all classes alike: first one of each, then another."""
    rank = np.zeros(len(labels), np.int64)
    for label in np.unique(labels):
        of = labels == label
        rank[of] = np.arange(of.sum())
    return np.lexsort((labels, rank))[:most].astype(np.int32)


def _hands(classifier: Classifier, reason: str, number: int) -> Inputs:
    from chifoumi_jax.hands import GESTURES, render

    has_all = set(GESTURES) <= set(classifier.classes)
    gestures = [gesture for _ in range(number if has_all else _FEW) for gesture in GESTURES]

    def draw(split: str) -> list[np.ndarray]:
        return [
            render(gesture, seed=place // len(GESTURES), size=_SIZE, split=split)
            for place, gesture in enumerate(gestures)
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
        lambda place: pictures[place],
    )


def _stack(classifier: Classifier, pictures: Sequence[np.ndarray]) -> np.ndarray:
    return np.stack([classifier.pixels(picture) for picture in pictures])
