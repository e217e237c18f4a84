"""Where a training stands, and how it may end before its time."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from chifoumi_jax.data.pipeline import Part
from chifoumi_jax.metrics import Running
from chifoumi_jax.training.run import RunError
from chifoumi_jax.training.step import Sums


class Stopped(KeyboardInterrupt):
    """The user stopped a training, which was saved; `directory` is its run."""

    def __init__(self, directory: Path):
        super().__init__(f"stopped and saved in {directory}")
        self.directory = directory

    def __reduce__(self) -> tuple[type[Stopped], tuple[Path]]:
        """From one process to another it is made anew, of the folder and not of the sentence."""
        return type(self), (self.directory,)


class DivergedError(RunError):
    """A training's numbers left what float32 holds; the message says when, and what to do."""


@dataclasses.dataclass
class Progress:
    """Where a training stands, besides its arrays: what `progress.json` holds.

    Attributes:
        step: Steps taken.
        iterator: State of Grain's iterator over the batches, where they are read ahead.
        loss: Of the epoch so far.
        accuracy: Of the epoch so far.
        seconds: That the epoch took so far.
        history: A row for each finished epoch.
        best_step: Step of the best checkpoint.
        best_score: Its validation accuracy and negative loss; without validation, training's.
    """

    step: int = 0
    iterator: Any = None
    loss: Running = dataclasses.field(default_factory=Running)
    accuracy: Running = dataclasses.field(default_factory=Running)
    seconds: float = 0.0
    history: list[dict[str, float]] = dataclasses.field(default_factory=list)
    best_step: int | None = None
    best_score: list[float] | None = None

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Progress:
        """The inverse of `dataclasses.asdict`."""
        running = {name: Running(**values[name]) for name in ("loss", "accuracy")}
        return cls(**values | running)

    def settle(self, found: Sequence[tuple[Part, Sums]]) -> None:
        """Take in the sums of some steps; waits for the devices."""
        for part, sums in found:
            rows = slice(part.first, part.first + part.number)
            for loss, correct, images in zip(*(np.asarray(s)[rows] for s in sums), strict=True):
                self.loss.add(float(loss), float(images))
                self.accuracy.add(float(correct), float(images))
            self.step += part.number

    def end_epoch(self, row: dict[str, float]) -> None:
        """Keep a finished epoch's row and begin the next."""
        self.history.append(row)
        self.loss, self.accuracy, self.seconds = Running(), Running(), 0.0

    def improves(self) -> bool:
        """Whether the epoch just ended is better than the best checkpoint."""
        return self.best_score is None or self._score() > self.best_score

    def mark_best(self) -> None:
        """Call the checkpoint that is about to be saved the best."""
        self.best_step, self.best_score = self.step, self._score()

    def _score(self) -> list[float]:
        row = self.history[-1]
        if "valid_loss" in row:
            return [row["valid_accuracy"], -row["valid_loss"]]
        return [row["accuracy"], -row["loss"]]
