"""A training in a process of its own that tells another one how it goes.

`python -m chifoumi_jax.play.teach.train_process JSON` trains the recipe that the JSON names, with
its changes. Each event is a line of JSON on standard output. SIGTERM stops it.
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
from chifoumi_jax.metrics import Running
from chifoumi_jax.recipes import RECIPES
from chifoumi_jax.training.display import Display, TrainingBar

# Between two pieces of news, in seconds.
_REFRESH = 0.4
# The server, which answers a person, goes first.
_NICENESS = 5


def tell(**news: Any) -> None:
    """One line; who no longer listens wants no more than what there is, saved."""
    try:
        print(json.dumps(news), flush=True)
    except BrokenPipeError:
        # For the rest of the process, which closes it.
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115
        signal.raise_signal(signal.SIGTERM)


class TellingBar(TrainingBar):
    """Tells of steps and epochs."""

    @property
    def stride(self) -> int:
        """Fewer steps than on a terminal: a person waits for this training."""
        stride = super().stride
        return stride if len(self._paces) < 2 else max(1, int(_REFRESH / self._paces[-1]))

    def show(self, step: int, loss: Running, accuracy: Running, seconds: float) -> None:
        """Tell of a step."""
        super().show(step, loss, accuracy, seconds)
        tell(step=step, steps=len(self._order), loss=loss.mean, accuracy=accuracy.mean)

    def end_epoch(self, row: Mapping[str, float]) -> None:
        """The steps have said it."""


class Telling(Display):
    """Tells of a training; warnings also go to standard error."""

    def __init__(self) -> None:
        super().__init__(quiet=True)

    @contextlib.contextmanager
    def training(self, order: Order, done: int) -> Iterator[TrainingBar]:
        """Tell of the steps."""
        tell(step=done, steps=len(order))
        yield TellingBar(self, None, order)


def main(argument: str) -> int:
    """Train; gives the process's exit code."""
    from chifoumi_jax.compilation_cache import keep_compiled
    from chifoumi_jax.errors import UserError
    from chifoumi_jax.training.fit import fit
    from chifoumi_jax.training.progress import Stopped

    os.nice(_NICENESS)
    given = json.loads(argument)
    recipe = RECIPES[given["recipe"]].replace(**given["changes"])
    try:
        with contextlib.suppress(OSError):
            keep_compiled()
        run = fit(recipe, display=Telling())
    except Stopped as stopped:
        tell(stopped=str(stopped.directory))
    except KeyboardInterrupt:
        tell(stopped=None)
    except (UserError, OSError) as error:
        tell(error=str(error))
        return 1
    else:
        tell(done=str(run.directory), accuracy=run.results.get("test_accuracy"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
