"""Metrics from labels and probabilities, and the running metrics of a training epoch."""

import dataclasses
import math

import numpy as np
from jaxtyping import Float, Int


def accuracy(
    labels: Int[np.ndarray, " images"], probabilities: Float[np.ndarray, "images classes"]
) -> float:
    """Share of images whose most probable class is their label."""
    return float(np.mean(np.argmax(probabilities, axis=1) == labels))


def confusion_matrix(
    labels: Int[np.ndarray, " images"], probabilities: Float[np.ndarray, "images classes"]
) -> Int[np.ndarray, "classes classes"]:
    """Number of images by true class (rows) and predicted class (columns)."""
    classes = probabilities.shape[1]
    matrix = np.zeros((classes, classes), np.int64)
    np.add.at(matrix, (labels, np.argmax(probabilities, axis=1)), 1)
    return matrix


def wilson_interval(correct: int, images: int, z: float = 1.96) -> tuple[float, float]:
    """Confidence interval of a share (95 % for the default `z`).

    Source: E. B. Wilson, 1927. Unlike the normal interval it stays within [0, 1].
    """
    share, square = correct / images, z * z / images
    centre = (share + square / 2) / (1 + square)
    half = z * math.sqrt(share * (1 - share) / images + square / (4 * images)) / (1 + square)
    return max(0.0, centre - half), min(1.0, centre + half)


def worst_mistakes(
    labels: Int[np.ndarray, " images"], probabilities: Float[np.ndarray, "images classes"]
) -> Int[np.ndarray, " mistakes"]:
    """Indices of the wrong answers, sorted by the probability of the true class, lowest first."""
    wrong = np.flatnonzero(np.argmax(probabilities, axis=1) != labels)
    of_true_class: np.ndarray = probabilities[wrong, labels[wrong]]
    indices: np.ndarray = wrong[np.argsort(of_true_class, kind="stable")]
    return indices


@dataclasses.dataclass
class RunningMean:
    """A mean over the batches of an epoch so far.

    Attributes:
        total: Sum over the images so far.
        images: Number of images so far.
        batch_means: Sum of the means of the batches.
        batches: Number of batches so far.
    """

    total: float = 0.0
    images: float = 0.0
    batch_means: float = 0.0
    batches: int = 0

    def add(self, total: float, images: float) -> None:
        """Add a batch: the sum over its images, and their number."""
        self.total += total
        self.images += images
        self.batch_means += total / images
        self.batches += 1

    @property
    def mean(self) -> float:
        """Mean over the images, as in Keras' `History`; NaN if there are none."""
        return self.total / self.images if self.images else math.nan

    @property
    def printed(self) -> float:
        """The last value of Keras 2.2.4's progress bar, which counts the final mean once more.

        It is (sum of the batches' means + mean over images) / (batches + 1).
        """
        return (self.batch_means + self.mean) / (self.batches + 1)
