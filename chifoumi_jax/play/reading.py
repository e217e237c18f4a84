"""What a model's probabilities say of a picture: sure of a class, unsure, or nothing there."""

from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float32

from chifoumi_jax.play.game.roles import stands_for_nothing
from chifoumi_jax.prediction.classifier import Classifier

State = Literal["sure", "unsure", "nothing"]


class Reading(NamedTuple):
    """An answer.

    Attributes:
        state: Whether `label` counts; "nothing" if it does and is the model's class for that.
        label: The most probable class.
        probabilities: By class.
    """

    state: State
    label: str
    probabilities: dict[str, float]

    def as_json(self) -> dict[str, object]:
        """For the pages; probabilities to four digits."""
        rounded = {name: round(value, 4) for name, value in self.probabilities.items()}
        return {"state": self.state, "label": self.label, "probabilities": rounded}


def read(classifier: Classifier, row: Float32[np.ndarray, " classes"]) -> Reading:
    """The reading of one row of `classifier.probabilities`."""
    best = int(np.argmax(row))
    label = classifier.classes[best]
    state: State = "nothing" if stands_for_nothing(label) else "sure"
    if row[best] < classifier.calibration.threshold:
        state = "unsure"
    return Reading(state, label, dict(zip(classifier.classes, map(float, row), strict=True)))
