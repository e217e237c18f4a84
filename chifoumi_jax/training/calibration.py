"""What probabilities are worth: a temperature, and below which of them to call a photo unsure."""

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

# Where nothing was held out to measure it on. Of three classes the best has a third at least.
_THRESHOLD = 0.6
# Of fewer photos neither number would mean anything.
MIN_PHOTOS = 30
# The share of right answers that those above the threshold are to have.
_WANTED = 0.95
# Standard deviations that 95 % of a normal distribution stay above.
_ONE_SIDED = 1.645
# Bisection of the temperature: between a quarter and four, to a thousandth.
_LOWEST, _HIGHEST, _ROUNDS = 0.25, 4.0, 40


@dataclasses.dataclass(frozen=True)
class Calibration:
    """How a model's probabilities are to be read.

    Attributes:
        temperature: Logits are divided by it.
        threshold: An answer whose probability is below is unsure.
        photos: How many held-out photos they were measured on; 0 if they were not.
        unsure: How many of these are below the threshold.
    """

    temperature: float = 1.0
    threshold: float = _THRESHOLD
    photos: int = 0
    unsure: int = 0

    def temper(
        self, probabilities: Float32[np.ndarray, "images classes"]
    ) -> Float32[np.ndarray, "images classes"]:
        """The probabilities at this temperature; their order stays."""
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

    The temperature is the one of least cross-entropy, one answer more being wrong than was seen:
    where hardly any is wrong, the least would be of certainty. The threshold is the lowest
    probability from which on 95 % of the answers are right by the lower bound of their share (one
    side, 95 %), or where none is, the probability at which that bound is greatest; but at least the
    0.6 of those that nothing is known of. Of fewer than 30 photos nothing is measured.

    Source: Guo et al. 2017, "On calibration of modern neural networks"; the answer more is Platt's
    (1999), who fits a sigmoid to targets of (n + 1) / (n + 2).
    """
    if len(labels) < MIN_PHOTOS:
        return UNCALIBRATED
    temperature = _temperature(labels, probabilities)
    tempered = Calibration(temperature).temper(probabilities)
    given, right = tempered.max(axis=1), tempered.argmax(axis=1) == labels
    falling = np.argsort(-given, kind="stable")
    # Equal probabilities are sure or unsure together.
    ends = np.flatnonzero(np.append(np.diff(given[falling]) != 0, True))
    counts = np.cumsum(right[falling])
    bounds = [wilson_interval(int(counts[end]), int(end) + 1, _ONE_SIDED)[0] for end in ends]
    enough = [end for end, bound in zip(ends, bounds, strict=True) if bound >= _WANTED]
    last = enough[-1] if enough else ends[int(np.argmax(bounds))]
    threshold = max(float(given[falling[last]]), _THRESHOLD)
    return Calibration(temperature, threshold, len(labels), int(np.sum(given < threshold)))


class Bin(NamedTuple):
    """The answers whose probability lies between two bounds.

    Attributes:
        low: The lower bound, which belongs to it.
        high: The upper bound, which does not, but for 1.
        photos: How many there are.
        stated: The mean of their probabilities; NaN if there are none.
        right: The share of them that are right; NaN if there are none.
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
    """How often answers are right, by the probability that they state, in bins of equal width."""
    given, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    of = np.minimum((given * bins).astype(int), bins - 1)
    found = []
    for one in range(bins):
        inside = of == one
        photos = int(inside.sum())
        stated, share = (
            (float(values[inside].sum()) / photos if photos else math.nan)
            for values in (given.astype(np.float64), right)
        )
        found.append(Bin(one / bins, (one + 1) / bins, photos, stated, share))
    return found


def expected_calibration_error(
    labels: Int[np.ndarray, " images"],
    probabilities: Float32[np.ndarray, "images classes"],
    bins: int = 10,
) -> float:
    """Mean distance of stated probability and share of right answers, over bins of equal width.

    Source: Naeini et al. 2015; Guo et al. 2017.
    """
    found = reliability(labels, probabilities, bins)
    gaps = (abs(one.stated - one.right) * one.photos for one in found if one.photos)
    return sum(gaps) / len(labels)


def read(directory: Path) -> Calibration:
    """The calibration in a run's folder; `UNCALIBRATED` where there is none.

    Raises:
        RunError: If the file is damaged.
    """
    path = directory / FILE
    try:
        values = json.loads(path.read_bytes())
        found = Calibration(
            float(values["temperature"]),
            float(values["threshold"]),
            int(values["photos"]),
            # Not in the runs of earlier versions.
            int(values.get("unsure", 0)),
        )
    except FileNotFoundError:
        return UNCALIBRATED
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path} cannot be read: {error}; remove it, or train again") from error
    if not (0 < found.temperature < np.inf and 0 <= found.threshold <= 1):
        raise RunError(f"{path} holds no calibration; remove it, or train again")
    return found


def sentence(measured: Calibration) -> str:
    """A calibration in words."""
    if not measured.photos:
        return f"Not calibrated: fewer than {MIN_PHOTOS} validation photos."
    bound = {_LOWEST: ", the least there is", _HIGHEST: ", the greatest there is"}
    at = bound.get(round(measured.temperature, 2), "")
    return (
        f"Calibrated on {measured.photos} validation photos: temperature "
        f"{measured.temperature:.2f}{at}; answers below {measured.threshold:.0%} are called "
        f"unsure, {measured.unsure} of these."
    )


def _temperature(
    labels: Int[np.ndarray, " images"], probabilities: Float32[np.ndarray, "images classes"]
) -> float:
    logits = np.log(np.maximum(probabilities.astype(np.float64), 1e-30))
    picked = logits[np.arange(len(labels)), labels]
    others = (logits.sum(axis=1) - picked) / (logits.shape[1] - 1)
    target = picked + (others - picked) / (len(labels) + 2)

    def slope(inverse: float) -> float:
        # Of the cross-entropy by the inverse temperature, in which it is convex.
        powers = np.exp(inverse * (logits - logits.max(axis=1, keepdims=True)))
        weights = powers / powers.sum(axis=1, keepdims=True)
        return float(np.mean(np.sum(weights * logits, axis=1) - target))

    low, high = 1 / _HIGHEST, 1 / _LOWEST
    for _ in range(_ROUNDS):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return 1 / (low * high) ** 0.5
