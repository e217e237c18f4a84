"""A run's metrics on labelled photos, ready for JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32, Int

from chifoumi_jax.data.problems import ProblemKind, describe
from chifoumi_jax.metrics import confusion_matrix, wilson_interval, worst_mistakes
from chifoumi_jax.reports.evaluated import EvaluatedRun
from chifoumi_jax.training.calibration import Calibration, expected_calibration_error, reliability

# JSON's null: a share of zero photos, or a value that is not finite.
_NULL = None
_MAX_MISTAKES = 50


def run_metrics(evaluated: EvaluatedRun) -> dict[str, Any]:
    """All metrics of one run, without its answers to the single photos."""
    labels, probabilities = evaluated.labels, evaluated.probabilities
    matrix = confusion_matrix(labels, probabilities)
    correct = int(np.trace(matrix))
    classes = per_class(matrix, evaluated.classes)
    return {
        "run": str(evaluated.directory),
        "recipe": evaluated.classifier.recipe.name,
        "data": str(evaluated.data.scan.root),
        "classes": list(evaluated.classes),
        "images": len(labels),
        "learnt": evaluated.learnt,
        "correct": correct,
        "accuracy": correct / len(labels),
        "interval": wilson_interval(correct, len(labels)),
        "loss": _number(evaluated.outcome.loss),
        "confusion": matrix.tolist(),
        "per_class": classes,
        # The mean is over the classes that have photos.
        "macro_f1": float(np.mean([row["f1"] for row in classes if row["photos"]])),
        "calibration": calibration(labels, probabilities, evaluated.classifier.calibration),
        "unsure": unsure(labels, probabilities, evaluated.classifier.calibration.threshold),
        "mistakes": mistakes(evaluated),
        "problems": describe(
            # The table of classes already shows which classes have no photos.
            [
                one
                for one in evaluated.data.scan.problems
                if one.kind is not ProblemKind.CLASS_MISSING
            ]
        ),
    }


def per_class(
    confusion: Int[np.ndarray, "classes classes"], classes: Sequence[str]
) -> list[dict[str, Any]]:
    """Precision, recall and F1 of each class.

    Precision is null for a class that was never predicted, recall for one without photos, and F1
    where both are null.

    Args:
        confusion: Numbers of photos by true and predicted class.
        classes: Names of the classes.
    """
    correct = np.diag(confusion)
    photos, predicted = confusion.sum(axis=1), confusion.sum(axis=0)
    return [
        {
            "class": name,
            "precision": _share(correct[label], predicted[label]),
            "recall": _share(correct[label], photos[label]),
            "f1": _share(2 * correct[label], photos[label] + predicted[label]),
            "photos": int(photos[label]),
        }
        for label, name in enumerate(classes)
    ]


def calibration(
    labels: Int[np.ndarray, " images"],
    probabilities: Float32[np.ndarray, "images classes"],
    used: Calibration,
) -> dict[str, Any]:
    """The run's temperature and threshold, its calibration error, and the bins of that error."""
    return {
        "temperature": used.temperature,
        "threshold": used.threshold,
        "measured_on": used.photos,
        "error": expected_calibration_error(labels, probabilities),
        "bins": [
            one._asdict() | {"stated": _number(one.stated), "right": _number(one.right)}
            for one in reliability(labels, probabilities)
        ],
    }


def unsure(
    labels: Int[np.ndarray, " images"],
    probabilities: Float32[np.ndarray, "images classes"],
    threshold: float,
) -> dict[str, Any]:
    """How many answers are below the threshold, and how often the others are correct."""
    sure = probabilities.max(axis=1) >= threshold
    rest, correct = int(sure.sum()), int((probabilities.argmax(axis=1) == labels)[sure].sum())
    return {
        "photos": len(labels) - rest,
        "share": (len(labels) - rest) / len(labels),
        "rest": rest,
        "rest_correct": correct,
        "rest_accuracy": correct / rest if rest else _NULL,
        "rest_interval": wilson_interval(correct, rest) if rest else _NULL,
    }


def mistakes(evaluated: EvaluatedRun) -> list[dict[str, Any]]:
    """The worst mistakes, at most 50."""
    indices = worst_mistakes(evaluated.labels, evaluated.probabilities)[:_MAX_MISTAKES]
    return [answer(evaluated, int(index)) for index in indices]


def answer(evaluated: EvaluatedRun, index: int) -> dict[str, Any]:
    """The run's answer for one photo, and the photo's true class."""
    row, label = evaluated.probabilities[index], int(evaluated.labels[index])
    predicted = int(np.argmax(row))
    return {
        "file": evaluated.split.photos[index].path,
        "true": evaluated.classes[label],
        "predicted": evaluated.classes[predicted],
        "probability": float(row[predicted]),
        "of_true": float(row[label]),
        "unsure": bool(row[predicted] < evaluated.classifier.calibration.threshold),
    }


def _share(part: np.integer, whole: np.integer) -> float | None:
    return float(part / whole) if whole else _NULL


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else _NULL
