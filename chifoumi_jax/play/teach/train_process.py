"""Trains a run in a separate process and reports its progress to the parent process.

`python -m chifoumi_jax.play.teach.train_process JSON` trains the recipe that the JSON names, with
the JSON's changes. Each event is a line of JSON on standard output. SIGTERM stops the training.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from chifoumi_jax.data.order import Order
from chifoumi_jax.metrics import RunningMean
from chifoumi_jax.recipes import RECIPES
from chifoumi_jax.training.display import Display, TrainingBar

# Time between two events, in seconds.
_REFRESH = 0.4
# Lower priority than the server's, because a person waits for the server's answers.
_NICENESS = 5


def emit(**event: Any) -> None:
    """Print an event; if the parent process no longer reads, stop and save the training."""
    try:
        print(json.dumps(event), flush=True)
    except BrokenPipeError:
        # Later prints, and the closing of standard output at exit, must not fail again.
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115
        signal.raise_signal(signal.SIGTERM)


class EventBar(TrainingBar):
    """Emits an event for each shown step."""

    @property
    def stride(self) -> int:
        """Fewer steps than on a terminal, because a person watches this training."""
        stride = super().stride
        if len(self._step_seconds) < 2:
            return stride
        return max(1, int(_REFRESH / self._step_seconds[-1]))

    def show(self, step: int, loss: RunningMean, accuracy: RunningMean, seconds: float) -> None:
        """Emit a step's event."""
        super().show(step, loss, accuracy, seconds)
        emit(step=step, steps=len(self._order), loss=loss.mean, accuracy=accuracy.mean)

    def end_epoch(self, row: Mapping[str, float]) -> None:
        """Print nothing, because the steps' events already contain the figures."""


class EventDisplay(Display):
    """Emits a training's progress as events; warnings still go to standard error."""

    def __init__(self) -> None:
        super().__init__(quiet=True)

    @contextlib.contextmanager
    def training(self, order: Order, done: int) -> Iterator[TrainingBar]:
        """Emit the number of steps, and yield the bar that emits the steps' events."""
        emit(step=done, steps=len(order))
        yield EventBar(self, None, order)


def main(argument: str) -> int:
    """Train as the JSON `argument` says; returns the process's exit code."""
    from chifoumi_jax.compilation_cache import enable_compilation_cache
    from chifoumi_jax.errors import UserError
    from chifoumi_jax.training.fit import fit
    from chifoumi_jax.training.progress import Stopped

    os.nice(_NICENESS)
    request = json.loads(argument)
    recipe = RECIPES[request["recipe"]].replace(**request["changes"])
    try:
        with contextlib.suppress(OSError):
            enable_compilation_cache()
        run = fit(recipe, display=EventDisplay())
    except Stopped as stopped:
        emit(stopped=str(stopped.directory))
    except KeyboardInterrupt:
        emit(stopped=None)
    except (UserError, OSError) as error:
        emit(error=str(error))
        return 1
    else:
        emit(done=str(run.directory), accuracy=run.results.get("test_accuracy"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
