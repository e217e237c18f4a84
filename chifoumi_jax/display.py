"""What a person sees while a run goes on: bars on a terminal, a line an epoch elsewhere."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from chifoumi_jax.data.order import Order
from chifoumi_jax.metrics import Running

# A step's time is taken over that many of them, after the first, which is slower.
_TIMED_STEPS = 3
# Between two looks at the devices' sums, in seconds: looking waits for the step to end.
REFRESH = 0.2


class Display:
    """Writes a run's news to a console; `quiet` leaves only warnings."""

    def __init__(self, *, quiet: bool = False):
        # Standard error, as progress is not a result.
        self.console = Console(stderr=True, highlight=False, soft_wrap=True)
        self.quiet = quiet

    def say(self, text: str) -> None:
        """One line of news."""
        if not self.quiet:
            self.console.print(text, markup=False)

    def warn(self, text: str) -> None:
        """One line that is never left out."""
        self.console.print(text, style="yellow", markup=False)

    @contextlib.contextmanager
    def counting(self, text: str) -> Iterator[Callable[[int, int], None]]:
        """A bar for work of a known number of parts; gives the function that moves it."""
        if not self._live:
            yield lambda done, total: None
            return
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        with Progress(*columns, console=self.console, transient=True) as progress:
            task = progress.add_task(text, total=None)
            yield lambda done, total: progress.update(task, completed=done, total=total)

    @contextlib.contextmanager
    def training(self, order: Order, done: int) -> Iterator[TrainingBar]:
        """A bar for the steps of a training, `done` of which lie behind."""
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
        self._looked = time.monotonic()
        self._first: tuple[int, float] | None = None
        self._timed = False

    def due(self, step: int) -> bool:
        """Whether it is time to show something new: now and then, or to estimate the time left."""
        if not self._timed and (self._first is None or step >= self._first[0] + _TIMED_STEPS):
            return True
        return self._progress is not None and time.monotonic() - self._looked >= REFRESH

    def show(self, step: int, loss: Running, accuracy: Running, seconds: float) -> None:
        """Move the bar; once, after some steps, say how long the rest will take."""
        now = self._looked = time.monotonic()
        if self._first is None:
            self._first = (step, now)
        elif not self._timed and step >= self._first[0] + _TIMED_STEPS:
            self._timed = True
            pace = (now - self._first[1]) / (step - self._first[0])
            left = duration(pace * (len(self._order) - step))
            self._display.say(f"A step takes {pace:.2g} s; about {left} left.")
        if self._progress is not None:
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
        """One line on a finished epoch."""
        parts = [f"epoch {row['epoch']:.0f}/{self._order.epochs}", f"loss {row['loss']:.4f}"]
        parts.append(f"accuracy {row['accuracy']:.1%}")
        if "valid_accuracy" in row:
            parts.append(f"validation {row['valid_accuracy']:.1%}")
        parts.append(f"{row['images_per_second']:.3g} images/s")
        self._display.say("  ".join(parts))


def duration(seconds: float) -> str:
    """A time for people: 42 s, 4 min 10 s, 2 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
