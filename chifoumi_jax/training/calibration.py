"""Calibration of probabilities: a temperature, and a threshold below which an answer is unsure."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int

from chifoumi_jax.metrics import wilson_interval
from chifoumi_jax.training.run import RunError

FILE = "calibration.json"

# The threshold without validation photos, and the lowest one with them. With three classes the
# highest probability is at least 1/3.
_DEFAULT_THRESHOLD = 0.6
# With fewer photos neither number would mean anything.
MIN_PHOTOS = 30
# Wanted share of right answers among those above the threshold.
_TARGET_ACCURACY = 0.95
# Half-width of a one-sided 95 % bound of a normal distribution, in standard deviations.
_ONE_SIDED_Z = 1.645
# The temperature is found by bisection between 0.25 and 4, to a thousandth.
_MIN_TEMPERATURE, _MAX_TEMPERATURE, _BISECTION_STEPS = 0.25, 4.0, 40


@dataclasses.dataclass(frozen=True)
class Calibration:
    """How to read a model's probabilities.

    Attributes:
        temperature: Divisor of the logits.
        threshold: An answer with a lower probability is unsure.
        photos: Number of held-out photos that both were measured on; 0 if they were not measured.
        unsure: Number of these photos whose answer is below the threshold.
    """

    temperature: float = 1.0
    threshold: float = _DEFAULT_THRESHOLD
    photos: int = 0
    unsure: int = 0

    def apply_temperature(
        self, probabilities: Float32[np.ndarray, "images classes"]
    ) -> Float32[np.ndarray, "images classes"]:
        """The probabilities at this temperature; the order of the classes does not change."""
        if self.temperature == 1.0:
            return probabilities
        scaled = np.log(np.maximum(probabilities, np.finfo(np.float32).tiny)) / self.temperature
        powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
        tempered: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
        return tempered.astype(np.float32)


UNCALIBRATED = Calibration()


def calibrate(
    labels: Int[np.ndarray, " images"], probabilities: Float32[np.ndarray, "images classes"]
) -> Calibration:
    """Measure a calibration on photos that the model did not learn from.

    The temperature minimises the cross-entropy. It counts one extra wrong answer (Platt 1999);
    otherwise near-perfect data makes the model overconfident.

    The threshold is the lowest probability from which on 95 % of the answers are right, by the
    lower bound of that share (one-sided, 95 % confidence). If no probability reaches 95 %, the
    threshold is the one with the greatest lower bound. It is at least 0.6, the threshold of a model
    without a calibration. With fewer than 30 photos nothing is measured.

    Source: Guo et al. 2017, "On calibration of modern neural networks"; the extra wrong answer is
    from Platt (1999), who fits a sigmoid to targets of (n + 1) / (n + 2).
    """
    if len(labels) < MIN_PHOTOS:
        return UNCALIBRATED
    temperature = _temperature(labels, probabilities)
    scaled = Calibration(temperature).apply_temperature(probabilities)
    confidence, right = scaled.max(axis=1), scaled.argmax(axis=1) == labels
    descending = np.argsort(-confidence, kind="stable")
    # A threshold cannot separate equal probabilities, so only the last of them is a candidate.
    ends = np.flatnonzero(np.append(np.diff(confidence[descending]) != 0, True))
    counts = np.cumsum(right[descending])
    bounds = [wilson_interval(int(counts[end]), int(end) + 1, _ONE_SIDED_Z)[0] for end in ends]
    reliable = [end for end, bound in zip(ends, bounds, strict=True) if bound >= _TARGET_ACCURACY]
    last = reliable[-1] if reliable else ends[int(np.argmax(bounds))]
    threshold = max(float(confidence[descending[last]]), _DEFAULT_THRESHOLD)
    return Calibration(temperature, threshold, len(labels), int(np.sum(confidence < threshold)))


class Bin(NamedTuple):
    """The answers whose probability lies between two bounds.

    Attributes:
        low: Lower bound, inclusive.
        high: Upper bound, exclusive except for 1.
        photos: Number of answers.
        stated: Mean of their probabilities; NaN if there are none.
        right: Share of right answers; NaN if there are none.
    """

    low: float
    high: float
    photos: int
    stated: float
    right: float


def reliability(
    labels: Int[np.ndarray, " images"],
    probabilities: Float32[np.ndarray, "images classes"],
    bins: int = 10,
) -> list[Bin]:
    """Share of right answers by their probability, in bins of equal width."""
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    bin_of_answer = np.minimum((confidence * bins).astype(int), bins - 1)
    result = []
    for number in range(bins):
        inside = bin_of_answer == number
        photos = int(inside.sum())
        stated, share = (
            (float(values[inside].sum()) / photos if photos else math.nan)
            for values in (confidence.astype(np.float64), right)
        )
        result.append(Bin(number / bins, (number + 1) / bins, photos, stated, share))
    return result


def expected_calibration_error(
    labels: Int[np.ndarray, " images"],
    probabilities: Float32[np.ndarray, "images classes"],
    bins: int = 10,
) -> float:
    """Mean distance between probability and share of right answers, over bins of equal width.

    Source: Naeini et al. 2015; Guo et al. 2017.
    """
    all_bins = reliability(labels, probabilities, bins)
    gaps = (abs(one.stated - one.right) * one.photos for one in all_bins if one.photos)
    return sum(gaps) / len(labels)


def read(directory: Path) -> Calibration:
    """The calibration in a run's folder; `UNCALIBRATED` if there is none.

    Raises:
        RunError: If the file is damaged.
    """
    path = directory / FILE
    try:
        values = json.loads(path.read_bytes())
        calibration = Calibration(
            float(values["temperature"]),
            float(values["threshold"]),
            int(values["photos"]),
            # Runs of earlier versions do not have it.
            int(values.get("unsure", 0)),
        )
    except FileNotFoundError:
        return UNCALIBRATED
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path} cannot be read: {error}; remove it, or train again") from error
    if not (0 < calibration.temperature < np.inf and 0 <= calibration.threshold <= 1):
        raise RunError(f"{path} holds no calibration; remove it, or train again")
    return calibration


def sentence(calibration: Calibration) -> str:
    """A calibration in words."""
    if not calibration.photos:
        return (
            f"Not calibrated: fewer than {MIN_PHOTOS} validation photos. Add photos, or give a "
            "larger --valid-share."
        )
    notes = {_MIN_TEMPERATURE: ", the lowest allowed", _MAX_TEMPERATURE: ", the highest allowed"}
    note = notes.get(round(calibration.temperature, 2), "")
    return (
        f"Calibrated on {calibration.photos} validation photos: temperature "
        f"{calibration.temperature:.2f}{note}; answers below {calibration.threshold:.0%} are "
        f"called unsure ({calibration.unsure} of these photos)."
    )


def _temperature(
    labels: Int[np.ndarray, " images"], probabilities: Float32[np.ndarray, "images classes"]
) -> float:
    logits = np.log(np.maximum(probabilities.astype(np.float64), 1e-30))
    picked = logits[np.arange(len(labels)), labels]
    others = (logits.sum(axis=1) - picked) / (logits.shape[1] - 1)
    target = picked + (others - picked) / (len(labels) + 2)

    def slope(inverse: float) -> float:
        # Derivative of the cross-entropy by the inverse temperature, in which it is convex.
        powers = np.exp(inverse * (logits - logits.max(axis=1, keepdims=True)))
        weights = powers / powers.sum(axis=1, keepdims=True)
        return float(np.mean(np.sum(weights * logits, axis=1) - target))

    low, high = 1 / _MAX_TEMPERATURE, 1 / _MIN_TEMPERATURE
    for _ in range(_BISECTION_STEPS):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return 1 / (low * high) ** 0.5
