"""Saves a run's state at the right times, and restores it."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from chifoumi_jax import distributed
from chifoumi_jax.data.pipeline import Resident, Streamed
from chifoumi_jax.training import checkpoint, run
from chifoumi_jax.training.program import Program
from chifoumi_jax.training.progress import Progress
from chifoumi_jax.training.step import TrainState

# A save may take this share of the time since the last one, so that several short epochs share one.
_SAVE_SHARE = 0.1


class Saver:
    """Saves a run's state as often as saves stay cheap; until then keeps the best one in memory."""

    def __init__(self, directory: Path, feed: Resident | Streamed):
        self._directory = directory
        self._feed = feed
        self._saved_at, self._cost = -float("inf"), 0.0
        self._best: tuple[int, dict[str, Any], dict[str, Any]] | None = None

    def end_epoch(self, state: TrainState, progress: Progress, last: bool) -> None:
        """Save a finished epoch if it is the last one or if a save is due."""
        is_best = progress.improves()
        if is_best:
            progress.mark_best()
        is_due = time.monotonic() - self._saved_at >= self._cost / _SAVE_SHARE
        if last or distributed.broadcast_first(is_due):
            self.save(state, progress)
        elif is_best:
            # Copies, because the next step reuses the memory of the state.
            trees = jax.tree.map(jnp.copy, state.trees())
            self._best = (progress.step, trees, self._as_json(progress))

    def save(self, state: TrainState, progress: Progress) -> None:
        """Save this state and the best earlier one, and remove checkpoints no longer needed."""
        start = time.monotonic()
        checkpoints = self._directory / "checkpoints"
        if self._best is not None and self._best[0] == progress.best_step != progress.step:
            checkpoint.save(checkpoints, *self._best)
        self._best = None
        checkpoint.save(checkpoints, progress.step, state.trees(), self._as_json(progress))
        if distributed.is_first():
            checkpoint.prune(checkpoints, progress.best_step)
            run.write_metrics(self._directory, progress.history)
        self._saved_at = time.monotonic()
        self._cost = self._saved_at - start

    def _as_json(self, progress: Progress) -> dict[str, Any]:
        progress.iterator = self._feed.state()
        return dataclasses.asdict(progress)


def restore(directory: Path, program: Program, step: int) -> tuple[TrainState, Progress]:
    """The state and the progress in a run's checkpoint.

    Raises:
        CheckpointError: If it is damaged or not of this program.
    """
    path = directory / "checkpoints" / f"{step:08d}"
    trees, progress = checkpoint.load(path, program.abstract_state().trees())
    return TrainState.from_trees(trees), Progress.from_json(progress)
