"""What a run's model makes of labelled photos and of single files."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from chifoumi_jax import run
from chifoumi_jax.classifier import Classifier, chunks, load
from chifoumi_jax.data.dataset import Dataset, Split, hands_folder, load_dataset
from chifoumi_jax.data.pipeline import all_batches
from chifoumi_jax.data.problems import DataError, ImageProblem, describe
from chifoumi_jax.evaluation import evaluate_batches
from chifoumi_jax.metrics import confusion_matrix, wilson_interval
from chifoumi_jax.run import RunError


def judge(
    directory: str | os.PathLike[str],
    *,
    data: Path | None = None,
    test_list: Path | None = None,
    best: bool = False,
    batch_size: int = 25,
) -> dict[str, Any]:
    """Accuracy, loss and confusion matrix of a run's model, ready for JSON.

    Args:
        directory: The run's folder.
        data: Labelled photos: `test` of a folder that has it, else all; None for the run's own.
        test_list: Selects photos of `data`.
        best: Take the best checkpoint instead of the last.
        batch_size: Photos at a time.

    Raises:
        RunError: If the folder is no run, or the run's own photos have changed.
        DataError: If there is no photo of the run's classes.
        CheckpointError: If no checkpoint is whole.
    """
    classifier = load(directory, best=best)
    if data is None:
        found, split = _own_photos(Path(directory), classifier, test_list)
    else:
        found, split = _other_photos(data, classifier, test_list)
    batches = all_batches(found.pixels, split, batch_size, classifier.program.devices)
    outcome = evaluate_batches(classifier.program, classifier.weights, batches)
    matrix = confusion_matrix(outcome.labels, outcome.probabilities)
    correct = int(np.trace(matrix))
    return {
        "run": str(directory),
        "data": str(found.scan.root),
        "classes": list(classifier.classes),
        "images": len(split),
        "correct": correct,
        "accuracy": correct / len(split),
        "interval": wilson_interval(correct, len(split)),
        "loss": outcome.loss,
        "confusion": matrix.tolist(),
        "problems": describe(found.scan.problems),
    }


def predict_files(
    classifier: Classifier, files: Sequence[Path], batch_size: int
) -> list[dict[str, Any]]:
    """One answer a file, ready for JSON: label and probabilities, or an error."""
    answers: list[dict[str, Any]] = []
    for chunk in chunks(files, batch_size):
        pixels, read = [], []
        for file in chunk:
            answer: dict[str, Any] = {"file": str(file)}
            answers.append(answer)
            try:
                pixels.append(classifier.pixels(file))
            except ImageProblem as problem:
                answer["error"] = str(problem)
            else:
                read.append(answer)
        if not read:
            continue
        for answer, row in zip(read, classifier.probabilities(np.stack(pixels)), strict=True):
            answer["label"] = classifier.classes[int(np.argmax(row))]
            answer["probabilities"] = dict(zip(classifier.classes, map(float, row), strict=True))
    return answers


def _own_photos(
    directory: Path, classifier: Classifier, test_list: Path | None
) -> tuple[Dataset, Split]:
    if test_list is not None:
        raise DataError("a test list selects photos of a folder: give --data too")
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
    for split in (found.test, found.train, found.valid):
        if len(split):
            return found, split
    raise DataError(f"{data} holds no photo of {', '.join(classifier.classes)}")
