"""What a person sees while a run goes on: bars on a terminal, a line an epoch elsewhere."""

from __future__ import annotations

import contextlib
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
# Between two looks at the devices' sums, in seconds. So long may Ctrl-C have to wait, too.
REFRESH = 3.0


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
        self._paces: list[float] = []
        self._step = 0

    @property
    def stride(self) -> int:
        """Steps to take until the next look: looking waits for the devices, hence not each."""
        if not self._paces:
            return 1
        if len(self._paces) == 1:
            return _TIMED_STEPS
        return max(1, int(REFRESH / self._paces[-1]))

    def pace(self, seconds: float) -> None:
        """Take in how long a step took since the last look; the second time, say what is left."""
        self._paces = [*self._paces[:2], seconds]
        if len(self._paces) == 2:
            left = duration(seconds * (len(self._order) - self._step))
            self._display.say(f"A step takes {seconds:.2g} s; about {left} left.")

    def show(self, step: int, loss: Running, accuracy: Running, seconds: float) -> None:
        """Move the bar."""
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
