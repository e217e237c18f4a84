"""The models that the pages can use: the one that the server started with, and the taught one."""

import threading
from pathlib import Path
from typing import Literal, NamedTuple

from chifoumi_jax.play.game.roles import means_no_hand, roles
from chifoumi_jax.prediction.classifier import Classifier

Source = Literal["given", "taught"]


class Model(NamedTuple):
    """A classifier with a name.

    Attributes:
        name: The name that the pages show.
        classifier: The classifier.
        run: The run's folder; `None` for a model that exists in memory only.
    """

    name: str
    classifier: Classifier
    run: Path | None

    def as_json(self) -> dict[str, object]:
        """The model's description for the pages."""
        found = roles(self.classifier.classes)
        return {
            "name": self.name,
            "classes": list(self.classifier.classes),
            "imageSize": self.classifier.recipe.image_size,
            "threshold": self.classifier.calibration.threshold,
            "hands": found.hands,
            "nothing": [name for name in self.classifier.classes if means_no_hand(name)],
            "missing": list(found.missing),
            "strange": list(found.strange),
            "playable": found.playable,
            "saved": self.run is not None,
        }


class Models:
    """The available models, and which of them is active; thread-safe."""

    def __init__(self, given: Model):
        self._lock = threading.Lock()
        self._models: dict[Source, Model] = {"given": given}
        self._source: Source = "given"

    @property
    def active(self) -> Model:
        """The model that Play and Photos use."""
        with self._lock:
            return self._models[self._source]

    @property
    def taught(self) -> Model | None:
        """The model that Teach made last."""
        with self._lock:
            return self._models.get("taught")

    def set_taught(self, model: Model) -> None:
        """Replace the taught model."""
        with self._lock:
            self._models["taught"] = model

    def use(self, source: Source) -> bool:
        """Make this model the active one; returns false if it does not exist."""
        with self._lock:
            if source not in self._models:
                return False
            self._source = source
            return True

    def as_json(self) -> dict[str, object]:
        """The active model, its source, and the taught model if there is one."""
        with self._lock:
            active = self._models[self._source].as_json()
            taught = self._models.get("taught")
            return active | {"source": self._source, "taught": taught and taught.as_json()}
