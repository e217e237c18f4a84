"""The models that the pages can ask: the one that the server began with, and the taught one."""

import threading
from pathlib import Path
from typing import Literal, NamedTuple

from chifoumi_jax.play.game.roles import roles, stands_for_nothing
from chifoumi_jax.prediction.classifier import Classifier

Source = Literal["given", "taught"]


class Model(NamedTuple):
    """A classifier under a name.

    Attributes:
        name: For people.
        classifier: What is asked.
        run: The run's folder; `None` for one that lives in memory only.
    """

    name: str
    classifier: Classifier
    run: Path | None

    def as_json(self) -> dict[str, object]:
        """What the pages know of a model."""
        found = roles(self.classifier.classes)
        return {
            "name": self.name,
            "classes": list(self.classifier.classes),
            "imageSize": self.classifier.recipe.image_size,
            "threshold": self.classifier.calibration.threshold,
            "hands": found.hands,
            "nothing": [name for name in self.classifier.classes if stands_for_nothing(name)],
            "missing": list(found.missing),
            "strange": list(found.strange),
            "playable": found.playable,
            "saved": self.run is not None,
        }


class Models:
    """Which model the pages ask; safe in threads."""

    def __init__(self, given: Model):
        self._lock = threading.Lock()
        self._models: dict[Source, Model] = {"given": given}
        self._source: Source = "given"

    @property
    def active(self) -> Model:
        """The one that Play and Photos ask."""
        with self._lock:
            return self._models[self._source]

    @property
    def taught(self) -> Model | None:
        """The one that Teach made last."""
        with self._lock:
            return self._models.get("taught")

    def teach(self, model: Model) -> None:
        """Replace the taught one."""
        with self._lock:
            self._models["taught"] = model

    def use(self, source: Source) -> bool:
        """Have Play and Photos ask this one; false if there is none."""
        with self._lock:
            if source not in self._models:
                return False
            self._source = source
            return True

    def as_json(self) -> dict[str, object]:
        """The active model, and whether there is another."""
        with self._lock:
            active = self._models[self._source].as_json()
            taught = self._models.get("taught")
            return active | {"source": self._source, "taught": taught and taught.as_json()}
