"""Progress output of a run: bars on a terminal, elsewhere one line per epoch."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from chifoumi_jax.callbacks import OnProgress
from chifoumi_jax.data.order import Order
from chifoumi_jax.metrics import RunningMean

# The time of a step is measured over this many steps. The first step is left out: it is slower.
_TIMED_STEPS = 3
# Seconds between two updates of the bar. Ctrl-C may have to wait that long too.
_REFRESH_SECONDS = 3.0


class Display:
    """Prints the progress of a run to standard error; with `quiet` only its warnings."""

    def __init__(self, *, quiet: bool = False):
        # Standard error, because progress is not a result.
        self.console = Console(stderr=True, highlight=False, soft_wrap=True)
        self.quiet = quiet

    def say(self, text: str) -> None:
        """Print one line, unless `quiet`."""
        if not self.quiet:
            self.console.print(text, markup=False)

    def warn(self, text: str) -> None:
        """Print one line, even if `quiet`."""
        self.console.print(text, style="yellow", markup=False)

    @contextlib.contextmanager
    def counting(self, text: str) -> Iterator[OnProgress]:
        """Show a bar for work in parts; yields a function that takes the parts done and in all."""
        if not self._live:
            yield lambda done, total: None
            return
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        with Progress(*columns, console=self.console, transient=True) as progress:
            task = progress.add_task(text, total=None)
            yield lambda done, total: progress.update(task, completed=done, total=total)

    @contextlib.contextmanager
    def training(self, order: Order, done: int) -> Iterator[TrainingBar]:
        """Show a bar for the steps of a training, `done` of which are done already."""
        if not self._live:
            yield TrainingBar(self, None, order)
            return
        columns = (
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("loss {task.fields[loss]}"),
            TextColumn("accuracy {task.fields[accuracy]}"),
            TextColumn("{task.fields[speed]} images/s"),
            TimeRemainingColumn(elapsed_when_finished=True),
            TextColumn("left"),
        )
        with Progress(*columns, console=self.console, transient=True) as progress:
            progress.add_task(
                "", total=len(order), completed=done, epoch="–", loss="–", accuracy="–", speed="–"
            )
            yield TrainingBar(self, progress, order)

    @property
    def _live(self) -> bool:
        return self.console.is_terminal and not self.quiet


class TrainingBar:
    """The bar of `Display.training`."""

    def __init__(self, display: Display, progress: Progress | None, order: Order):
        self._display = display
        self._progress = progress
        self._order = order
        self._step_seconds: list[float] = []
        self._step = 0

    @property
    def stride(self) -> int:
        """Steps until the next update; more than one, because an update waits for the devices."""
        if not self._step_seconds:
            return 1
        if len(self._step_seconds) == 1:
            return _TIMED_STEPS
        return max(1, int(_REFRESH_SECONDS / self._step_seconds[-1]))

    def record_step_time(self, seconds: float) -> None:
        """Record the time of a step since the last update; the second time, print the time left."""
        self._step_seconds = [*self._step_seconds[:2], seconds]
        if len(self._step_seconds) == 2:
            left = duration(seconds * (len(self._order) - self._step))
            self._display.say(f"A step takes {seconds:.2g} s; about {left} left.")

    def show(self, step: int, loss: RunningMean, accuracy: RunningMean, seconds: float) -> None:
        """Move the bar; `seconds` is the time of the epoch so far."""
        self._step = step
        if self._progress is None:
            return
        epoch = (step - 1) // self._order.steps_per_epoch + 1
        self._progress.update(
            self._progress.task_ids[0],
            completed=step,
            epoch=f"{epoch}/{self._order.epochs}",
            loss=f"{loss.mean:.3f}",
            accuracy=f"{accuracy.mean:.1%}",
            speed=f"{loss.images / seconds:.3g}",
        )

    def end_epoch(self, row: Mapping[str, float]) -> None:
        """Print one line about a finished epoch."""
        parts = [f"epoch {row['epoch']:.0f}/{self._order.epochs}", f"loss {row['loss']:.4f}"]
        parts.append(f"accuracy {row['accuracy']:.1%}")
        if "valid_accuracy" in row:
            parts.append(f"validation {row['valid_accuracy']:.1%}")
        parts.append(f"{row['images_per_second']:.3g} images/s")
        self._display.say("  ".join(parts))


def duration(seconds: float) -> str:
    """A time as readable text: 42 s, 4 min 10 s, 2 h 5 min."""
    rounded = round(seconds)
    if rounded < 60:
        return f"{rounded} s"
    if rounded < 3600:
        return f"{rounded // 60} min {rounded % 60} s"
    return f"{rounded // 3600} h {rounded % 3600 // 60} min"
