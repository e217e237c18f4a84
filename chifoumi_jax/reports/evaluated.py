"""A run's model asked about labelled photos: its own test photos, or those of another folder."""

from __future__ import annotations

import dataclasses
import os
import tempfile
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, Int

from chifoumi_jax.data.dataset import Dataset, Split, hands_folder, load_dataset
from chifoumi_jax.data.pipeline import all_batches
from chifoumi_jax.data.problems import DataError
from chifoumi_jax.prediction.classifier import Classifier
from chifoumi_jax.prediction.load import load
from chifoumi_jax.training import run
from chifoumi_jax.training.evaluation import Outcome, evaluate_batches
from chifoumi_jax.training.run import RunError


@dataclasses.dataclass(frozen=True)
class Judged:
    """A run's answers.

    Attributes:
        directory: The run's folder.
        classifier: Its model.
        data: The scanned folder and its pixels.
        split: The photos asked about.
        outcome: The answers as training counts them.
        probabilities: The answers at the run's temperature, as `predict` gives them.
        learnt: How many of the photos the run was trained or validated on; None if it is not known.
    """

    directory: Path
    classifier: Classifier
    data: Dataset
    split: Split
    outcome: Outcome
    probabilities: Float32[np.ndarray, "images classes"]
    learnt: int | None = None

    @property
    def labels(self) -> Int[np.ndarray, " images"]:
        """The true classes."""
        return self.outcome.labels

    @property
    def predicted(self) -> Int[np.ndarray, " images"]:
        """The most probable classes."""
        return np.argmax(self.probabilities, axis=1)

    @property
    def right(self) -> Bool[np.ndarray, " images"]:
        """Which answers are right."""
        return self.predicted == self.labels

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.classifier.classes

    def path(self, place: int) -> Path:
        """The file of the photo at this place."""
        return self.data.scan.root / self.split.photos[place].path


def judge(
    directory: str | os.PathLike[str],
    *,
    data: Path | None = None,
    test_list: Path | None = None,
    best: bool = False,
    averaged: bool = True,
    mirrored: bool = True,
    batch_size: int = 25,
) -> Judged:
    """Ask a run's model about labelled photos.

    Args:
        directory: The run's folder.
        data: Labelled photos: of a folder with splits `test`, or else `valid`; of another all; None
            for the run's own.
        test_list: Selects photos of `data`.
        best: Take the best checkpoint instead of the last.
        averaged: As for `load`.
        mirrored: As for `load`.
        batch_size: Photos at a time.

    Raises:
        RunError: If the folder is no run, its own photos have changed, or its answers are no
            numbers.
        DataError: If there is no photo of the run's classes.
        CheckpointError: If no checkpoint is whole.
    """
    classifier = load(directory, best=best, averaged=averaged, mirrored=mirrored)
    if data is None:
        found, split = _own_photos(Path(directory), classifier, test_list)
    else:
        found, split = _other_photos(data, classifier, test_list)
    # Every batch is padded to this: places without photos would be memory for nothing, but a few,
    # as many as by default, save compiling anew for each small set.
    size = min(batch_size, max(25, len(split)))
    batches = all_batches(found.pixels, split, size, classifier.program.devices)
    outcome = evaluate_batches(classifier.program, classifier.weights, batches)
    tempered = classifier.tempered(outcome.probabilities)
    learnt = run.read_learnt(directory)
    known = None if learnt is None else sum(photo.sha256 in learnt for photo in split.photos)
    return Judged(Path(directory), classifier, found, split, outcome, tempered, known)


def _own_photos(
    directory: Path, classifier: Classifier, test_list: Path | None
) -> tuple[Dataset, Split]:
    if test_list is not None:
        raise DataError("a test list selects photos of a folder: give --data too")
    if not run.is_run(directory):
        raise RunError(f"{directory} has no test photos of its own: name a folder with --data")
    recipe = classifier.recipe
    found = load_dataset(
        recipe.replace(hands=0), recipe.data or hands_folder(), Path(tempfile.gettempdir())
    )
    _, config = run.read_config(directory)
    if found.scan.fingerprint != config["data"]["fingerprint"]:
        raise RunError(f"the photos of {directory} have changed; name a folder with --data")
    if not len(found.test):
        raise RunError(f"{directory} had no test photo; name a folder with --data")
    return found, found.test


def _other_photos(
    data: Path, classifier: Classifier, test_list: Path | None
) -> tuple[Dataset, Split]:
    found = load_dataset(
        classifier.recipe.replace(
            data=data, groups=None, train_list=None, test_list=test_list, strict=False
        ),
        data,
        Path(tempfile.gettempdir()),
        classes=classifier.classes,
    )
    # Of a folder with splits rather those that a model has not learnt from.
    for split in (found.test, found.valid, found.train):
        if len(split):
            return found, split
    raise DataError(f"{data} holds no photo of {', '.join(classifier.classes)}")
