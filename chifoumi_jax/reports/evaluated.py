"""One run evaluated on labelled photos: its own test photos, or those of another folder."""

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
class EvaluatedRun:
    """A run's model and its predictions for labelled photos.

    Attributes:
        directory: The run's folder.
        classifier: Its model.
        data: The scanned folder and its pixels.
        split: The photos that were classified.
        outcome: Labels, probabilities without calibration, and loss, as in training.
        probabilities: The probabilities at the run's temperature, as `predict` gives them.
        learnt: How many of the photos the run was trained or validated on; None if unknown.
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
    def correct(self) -> Bool[np.ndarray, " images"]:
        """Whether each prediction is correct."""
        return self.predicted == self.labels

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.classifier.classes

    def path(self, index: int) -> Path:
        """The file of the split's photo at this index."""
        return self.data.scan.root / self.split.photos[index].path


def evaluate_run(
    directory: str | os.PathLike[str],
    *,
    data: Path | None = None,
    test_list: Path | None = None,
    best: bool = False,
    averaged: bool = True,
    mirrored: bool = True,
    batch_size: int = 25,
) -> EvaluatedRun:
    """Classify labelled photos with a run's model.

    Args:
        directory: The run's folder, or anything else that `load` accepts.
        data: Folder of labelled photos. If it has splits, `test` is used, or else `valid`;
            otherwise all its photos. None uses the run's own test photos.
        test_list: Selects photos of `data`.
        best: Use the best checkpoint instead of the last.
        averaged: As for `load`.
        mirrored: As for `load`.
        batch_size: Photos in a batch.

    Raises:
        RunError: If the folder is not a run, its own photos have changed, or its probabilities are
            not finite.
        DataError: If there is no photo of the run's classes.
        CheckpointError: If no checkpoint is intact.
    """
    classifier = load(directory, best=best, averaged=averaged, mirrored=mirrored)
    if data is None:
        dataset, split = _own_photos(Path(directory), classifier, test_list)
    else:
        dataset, split = _other_photos(data, classifier, test_list)
    # Every batch is padded to this size. More than the number of photos would waste memory; at
    # least 25, the default, saves a compilation for each small set of photos.
    size = min(batch_size, max(25, len(split)))
    batches = all_batches(dataset.pixels, split, size, classifier.program.devices)
    outcome = evaluate_batches(classifier.program, classifier.weights, batches)
    probabilities = classifier.calibrated(outcome.probabilities)
    hashes = run.read_training_photos(directory)
    learnt = None if hashes is None else sum(photo.sha256 in hashes for photo in split.photos)
    return EvaluatedRun(Path(directory), classifier, dataset, split, outcome, probabilities, learnt)


def _own_photos(
    directory: Path, classifier: Classifier, test_list: Path | None
) -> tuple[Dataset, Split]:
    if test_list is not None:
        raise DataError("--test-list selects photos of a folder: give --data too")
    if not run.is_run(directory):
        raise RunError(f"{directory} has no test photos of its own: name a folder with --data")
    recipe = classifier.recipe
    dataset = load_dataset(
        recipe.replace(hands=0), recipe.data or hands_folder(), Path(tempfile.gettempdir())
    )
    _, config = run.read_config(directory)
    if dataset.scan.fingerprint != config["data"]["fingerprint"]:
        raise RunError(f"the photos of {directory} have changed; name a folder with --data")
    if not len(dataset.test):
        raise RunError(f"{directory} had no test photo; name a folder with --data")
    return dataset, dataset.test


def _other_photos(
    data: Path, classifier: Classifier, test_list: Path | None
) -> tuple[Dataset, Split]:
    dataset = load_dataset(
        classifier.recipe.replace(
            data=data, groups=None, train_list=None, test_list=test_list, strict=False
        ),
        data,
        Path(tempfile.gettempdir()),
        classes=classifier.classes,
    )
    # Splits that a model was not trained on come first.
    for split in (dataset.test, dataset.valid, dataset.train):
        if len(split):
            return dataset, split
    raise DataError(
        f"{data} has no photo of the classes {', '.join(classifier.classes)}; name another folder"
    )
