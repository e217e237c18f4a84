"""Learns what is taught: at once and in memory, or in a training of its own that is saved."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from chifoumi_jax.backbones import architecture
from chifoumi_jax.convert.pretrained import PretrainedError
from chifoumi_jax.play.models import Model, Models
from chifoumi_jax.play.pictures import read_pixels
from chifoumi_jax.play.teach.classes import Taught
from chifoumi_jax.play.teach.save import save_album
from chifoumi_jax.play.worker import Worker
from chifoumi_jax.prediction.load import load
from chifoumi_jax.recipes import transfer

Recipe = Literal["transfer", "cnn"]
State = Literal["running", "done", "stopped", "failed"]
Stage = Literal["preparing", "learning", "judging", "loading"]

# For pictures of a webcam's middle: the CNN's own size, for photos, takes minutes.
_CHANGES: dict[Recipe, dict[str, Any]] = {
    "transfer": {"epochs": 6, "hands": 0, "min_steps": 0},
    "cnn": {"image_size": 96, "epochs": 20, "learning_rate": 1e-3},
}
_RUN = "teach"
# For an interrupted training to save itself, in seconds.
_PATIENCE = 20


@dataclasses.dataclass(frozen=True)
class Job:
    """A learning as the page sees it.

    Attributes:
        kind: "quick" is a head on features, in memory; "full" a training that is saved.
        state: Whether it goes on, and how it ended.
        stage: What it is at.
        step: Parts done, of `steps`.
        steps: All parts; 0 while that is not known.
        loss: Of the epoch so far.
        accuracy: Likewise, on the training pictures.
        photos: Folder of the saved pictures.
        run: Folder of the run.
        test_accuracy: On pictures that were kept out of the training; `None` if none were.
        error: Why it failed, one sentence.
    """

    kind: Literal["quick", "full"]
    state: State = "running"
    stage: Stage = "preparing"
    step: int = 0
    steps: int = 0
    loss: float | None = None
    accuracy: float | None = None
    photos: str | None = None
    run: str | None = None
    test_accuracy: float | None = None
    error: str | None = None


class Apprentice:
    """One job at a time; safe in threads."""

    def __init__(self, models: Models, worker: Worker, runs: Path):
        self._models = models
        self._worker = worker
        self._runs = runs
        self._lock = threading.Lock()
        self._job: Job | None = None
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._process: subprocess.Popen[str] | None = None

    @property
    def job(self) -> Job | None:
        """The one that goes on, or the last one."""
        with self._lock:
            return self._job

    def start_quick(self, lesson: Sequence[Taught], most: int) -> bool:
        """Learn a head on features; false if another job goes on.

        Args:
            lesson: What is taught.
            most: Pixels that a picture may have.
        """
        return self._start(Job("quick"), lambda: self._learn_quickly(lesson, most))

    def start_full(self, lesson: Sequence[Taught], recipe: Recipe) -> bool:
        """Save the pictures and train on them; false if another job goes on."""
        return self._start(Job("full"), lambda: self._learn_fully(lesson, recipe))

    def cancel(self) -> None:
        """Stop the job that goes on, if any."""
        self._stopping.set()
        with self._lock:
            process = self._process
        if process is not None:
            process.terminate()

    def close(self) -> None:
        """Stop, and wait until nothing goes on."""
        self.cancel()
        thread = self._thread
        if thread is None:
            return
        thread.join(_PATIENCE)
        with self._lock:
            process = self._process
        if process is not None:
            process.kill()
        thread.join()

    def _start(self, job: Job, learn: Callable[[], None]) -> bool:
        with self._lock:
            if self._job is not None and self._job.state == "running":
                return False
            self._job = job
            self._stopping.clear()
            self._thread = threading.Thread(target=self._run, args=(learn,), name="apprentice")
            self._thread.start()
            return True

    def _run(self, learn: Callable[[], None]) -> None:
        try:
            learn()
        except Exception as error:
            # The page must hear of any end; what nobody expects goes on to the log.
            self._tell(state="failed", error=str(error) or type(error).__name__)
            if not isinstance(error, OSError | PretrainedError | RuntimeError):
                raise

    def _tell(self, **news: Any) -> None:
        with self._lock:
            assert self._job is not None
            self._job = dataclasses.replace(self._job, **news)

    def _learn_quickly(self, lesson: Sequence[Taught], most: int) -> None:
        from chifoumi_jax.play.teach.quick import Cancelled, quick_classifier

        def progress(done: int, total: int) -> None:
            if self._stopping.is_set():
                raise Cancelled
            self._tell(stage="learning", step=done, steps=total)

        pixels = [
            read_pixels(transfer, frame.jpeg, most) for taught in lesson for frame in taught.frames
        ]
        labels = np.repeat(np.arange(len(lesson)), [len(taught.frames) for taught in lesson])
        try:
            found = quick_classifier(
                np.stack(pixels),
                labels.astype(np.int32),
                [taught.name for taught in lesson],
                progress,
            )
        except Cancelled:
            self._tell(state="stopped")
            return
        self._take(Model("quick", found, None))

    def _learn_fully(self, lesson: Sequence[Taught], recipe: Recipe) -> None:
        album = save_album(lesson, self._runs)
        self._tell(photos=str(album.photos))
        changes = _CHANGES[recipe] | {
            "name": _RUN,
            "data": str(album.photos),
            "groups": str(album.groups),
            "runs": str(self._runs),
        }
        ended: dict[str, Any] = {}
        with self._training({"recipe": recipe, "changes": changes}) as process:
            assert process.stdout is not None
            for line in process.stdout:
                news = json.loads(line)
                if "steps" in news:
                    stage = "judging" if news["step"] == news["steps"] else "learning"
                    self._tell(stage=stage, **news)
                else:
                    ended = news
        if "done" in ended:
            directory = Path(ended["done"])
            self._tell(stage="loading", run=str(directory), test_accuracy=ended["accuracy"])
            self._take(Model(directory.name, load(directory), directory))
        elif "stopped" in ended or self._stopping.is_set():
            self._tell(state="stopped", run=ended.get("stopped"))
        else:
            broken = f"the training ended with exit code {process.returncode}"
            self._tell(state="failed", error=ended.get("error", broken))

    @contextlib.contextmanager
    def _training(self, given: dict[str, Any]) -> Iterator[subprocess.Popen[str]]:
        command = [sys.executable, "-m", "chifoumi_jax.play.teach.train_process", json.dumps(given)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            with self._lock:
                self._process = process
            if self._stopping.is_set():
                process.terminate()
            try:
                yield process
            finally:
                process.wait()
                with self._lock:
                    self._process = None

    def _take(self, model: Model) -> None:
        self._tell(stage="loading")
        self._worker.warm_up(model.classifier, 1).result()
        self._models.teach(model)
        self._tell(state="done")


@functools.cache
def why_no_transfer() -> str | None:
    """Why the recipe `transfer` cannot be had, one sentence; `None` if it can.

    Looked at once: what is installed later counts from the next start.
    """
    try:
        architecture(transfer.model).require()
    except PretrainedError as error:
        return str(error)
    return None
