"""The progress of a training, and the exceptions that end it early."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from chifoumi_jax.data.pipeline import Part
from chifoumi_jax.metrics import RunningMean
from chifoumi_jax.training.run import RunError
from chifoumi_jax.training.step import Sums


class Stopped(KeyboardInterrupt):
    """The user stopped a training, which was saved.

    Attributes:
        directory: The run's folder.
        command: The command of `chifoumi` that continues it.
    """

    def __init__(self, directory: Path, command: str = "train"):
        super().__init__(f"stopped and saved in {directory}")
        self.directory = directory
        self.command = command

    def __reduce__(self) -> tuple[type[Stopped], tuple[Path, str]]:
        """Pickled by its arguments; the default would pass the message to `__init__`."""
        return type(self), (self.directory, self.command)


class DivergedError(RunError):
    """A loss or metric is not finite; the message says after which epoch, and what to change."""


@dataclasses.dataclass
class Progress:
    """The progress of a training without its arrays; it is saved as `progress.json`.

    Attributes:
        step: Number of steps so far.
        iterator: State of Grain's iterator over the batches; None if pixels stay on the devices.
        loss: Mean loss of the epoch so far.
        accuracy: Mean accuracy of the epoch so far.
        seconds: Time of the epoch so far.
        history: A row for each finished epoch.
        best_step: Step of the best checkpoint.
        best_score: Its validation accuracy and its negative validation loss; those of the training
            photos if there are no validation photos.
    """

    step: int = 0
    iterator: Any = None
    loss: RunningMean = dataclasses.field(default_factory=RunningMean)
    accuracy: RunningMean = dataclasses.field(default_factory=RunningMean)
    seconds: float = 0.0
    history: list[dict[str, float]] = dataclasses.field(default_factory=list)
    best_step: int | None = None
    best_score: list[float] | None = None

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Progress:
        """The inverse of `dataclasses.asdict`."""
        running = {name: RunningMean(**values[name]) for name in ("loss", "accuracy")}
        return cls(**values | running)

    def add_sums(self, taken: Sequence[tuple[Part, Sums]]) -> None:
        """Add the sums of the steps just taken; waits for the devices."""
        for part, sums in taken:
            rows = slice(part.first, part.first + part.number)
            for loss, correct, images in zip(*(np.asarray(s)[rows] for s in sums), strict=True):
                self.loss.add(float(loss), float(images))
                self.accuracy.add(float(correct), float(images))
            self.step += part.number

    def end_epoch(self, row: dict[str, float]) -> None:
        """Keep a finished epoch's row and begin the next epoch."""
        self.history.append(row)
        self.loss, self.accuracy, self.seconds = RunningMean(), RunningMean(), 0.0

    def improves(self) -> bool:
        """Whether the epoch just ended is better than the best checkpoint."""
        return self.best_score is None or self._score() > self.best_score

    def mark_best(self) -> None:
        """Record the current state, which is about to be saved, as the best one."""
        self.best_step, self.best_score = self.step, self._score()

    def _score(self) -> list[float]:
        row = self.history[-1]
        if "valid_loss" in row:
            return [row["valid_accuracy"], -row["valid_loss"]]
        return [row["accuracy"], -row["loss"]]
