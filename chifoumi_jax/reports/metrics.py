"""The numbers of a run's answers, ready for JSON."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from jaxtyping import Float32, Int

from chifoumi_jax.data.problems import Kind, describe
from chifoumi_jax.metrics import confusion_matrix, wilson_interval, worst_mistakes
from chifoumi_jax.reports.evaluated import Judged
from chifoumi_jax.training.calibration import Calibration, expected_calibration_error, reliability

# Of a share among no photo, and of what is no number: JSON's null.
_NOTHING = None
_MISTAKES = 50


def measures(judged: Judged) -> dict[str, Any]:
    """All that is reported of one run but its single answers."""
    labels, probabilities = judged.labels, judged.probabilities
    matrix = confusion_matrix(labels, probabilities)
    correct = int(np.trace(matrix))
    classes = per_class(labels, judged.predicted, judged.classes)
    return {
        "run": str(judged.directory),
        "recipe": judged.classifier.recipe.name,
        "data": str(judged.data.scan.root),
        "classes": list(judged.classes),
        "images": len(labels),
        "learnt": judged.learnt,
        "correct": correct,
        "accuracy": correct / len(labels),
        "interval": wilson_interval(correct, len(labels)),
        "loss": _number(judged.outcome.loss),
        "confusion": matrix.tolist(),
        "per_class": classes,
        # Of the classes that there are photos of.
        "macro_f1": float(np.mean([row["f1"] for row in classes if row["photos"]])),
        "calibration": calibration(labels, probabilities, judged.classifier.calibration),
        "unsure": unsure(labels, probabilities, judged.classifier.calibration.threshold),
        "mistakes": mistakes(judged),
        "problems": describe(
            # Which classes have no photo stands in the table.
            [one for one in judged.data.scan.problems if one.kind is not Kind.CLASS_MISSING]
        ),
    }


def per_class(
    labels: Int[np.ndarray, " images"],
    predicted: Int[np.ndarray, " images"],
    classes: tuple[str, ...],
) -> list[dict[str, Any]]:
    """Precision, recall and F1 of each class.

    Precision is null for a class that no answer names, recall for one without a photo.
    """
    from sklearn.metrics import precision_recall_fscore_support

    columns = precision_recall_fscore_support(
        labels, predicted, labels=range(len(classes)), zero_division=np.nan
    )
    return [
        {
            "class": name,
            "precision": _number(precision),
            "recall": _number(recall),
            "f1": _number(f1),
            "photos": int(photos),
        }
        for name, precision, recall, f1, photos in zip(classes, *columns, strict=True)
    ]


def calibration(
    labels: Int[np.ndarray, " images"],
    probabilities: Float32[np.ndarray, "images classes"],
    used: Calibration,
) -> dict[str, Any]:
    """What the probabilities are worth: the calibration error, and the bins behind it."""
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
    """How many answers are below the threshold, and how often the others are right."""
    sure = probabilities.max(axis=1) >= threshold
    rest, right = int(sure.sum()), int((probabilities.argmax(axis=1) == labels)[sure].sum())
    return {
        "photos": len(labels) - rest,
        "share": (len(labels) - rest) / len(labels),
        "rest": rest,
        "rest_correct": right,
        "rest_accuracy": right / rest if rest else _NOTHING,
        "rest_interval": wilson_interval(right, rest) if rest else _NOTHING,
    }


def mistakes(judged: Judged) -> list[dict[str, Any]]:
    """The worst wrong answers, 50 at most."""
    places = worst_mistakes(judged.labels, judged.probabilities)[:_MISTAKES]
    return [answer(judged, int(place)) for place in places]


def answer(judged: Judged, place: int) -> dict[str, Any]:
    """One photo's answer."""
    row, label = judged.probabilities[place], int(judged.labels[place])
    predicted = int(np.argmax(row))
    return {
        "file": judged.split.photos[place].path,
        "true": judged.classes[label],
        "predicted": judged.classes[predicted],
        "probability": float(row[predicted]),
        "of_true": float(row[label]),
        "unsure": bool(row[predicted] < judged.classifier.calibration.threshold),
    }


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else _NOTHING
