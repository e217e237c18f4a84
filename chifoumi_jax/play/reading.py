"""A classifier's prediction for a picture, with its threshold applied."""

from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float32

from chifoumi_jax.play.game.roles import means_no_hand
from chifoumi_jax.prediction.classifier import Classifier

State = Literal["sure", "unsure", "nothing"]


class Reading(NamedTuple):
    """A prediction and whether it counts.

    Attributes:
        state: "unsure" if the probability of `label` is under the threshold; otherwise "nothing" if
            `label` is the model's class for no hand, and "sure" for any other class.
        label: The most probable class.
        probabilities: The probability of each class, by its name.
    """

    state: State
    label: str
    probabilities: dict[str, float]

    def as_json(self) -> dict[str, object]:
        """The reading for the pages; probabilities are rounded to four digits."""
        rounded = {name: round(value, 4) for name, value in self.probabilities.items()}
        return {"state": self.state, "label": self.label, "probabilities": rounded}


def apply_threshold(classifier: Classifier, row: Float32[np.ndarray, " classes"]) -> Reading:
    """The reading for one row of `classifier.probabilities`."""
    best = int(np.argmax(row))
    label = classifier.classes[best]
    state: State = "nothing" if means_no_hand(label) else "sure"
    if row[best] < classifier.calibration.threshold:
        state = "unsure"
    return Reading(state, label, dict(zip(classifier.classes, map(float, row), strict=True)))
