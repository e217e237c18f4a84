"""Trains on the taught classes: quickly in memory, or as a saved run in a separate process."""

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
from chifoumi_jax.play.teach.classes import TaughtClass
from chifoumi_jax.play.teach.save import save_photos
from chifoumi_jax.play.worker import Worker
from chifoumi_jax.prediction.load import load
from chifoumi_jax.recipes import transfer

Recipe = Literal["transfer", "cnn"]
State = Literal["running", "done", "stopped", "failed"]
Stage = Literal["preparing", "learning", "judging", "loading"]

# For crops of webcam frames. The CNN's own image size is for photos and would take minutes.
_RECIPE_CHANGES: dict[Recipe, dict[str, Any]] = {
    "transfer": {"epochs": 6, "hands": 0, "min_steps": 0},
    "cnn": {"image_size": 96, "epochs": 20, "learning_rate": 1e-3},
}
_RUN_NAME = "teach"
# Time for an interrupted training to save its checkpoint, in seconds.
_STOP_TIMEOUT = 20


@dataclasses.dataclass(frozen=True)
class Job:
    """A training job as the page shows it.

    Attributes:
        kind: "quick" trains a head on frozen features, in memory; "full" trains a saved run.
        state: Whether the job is running, or how it ended.
        stage: The current part of the job.
        step: Number of finished steps.
        steps: Number of all steps; 0 while it is not known.
        loss: Training loss of the current epoch so far.
        accuracy: Training accuracy of the current epoch so far.
        photos: Folder of the saved pictures.
        run: Folder of the run.
        test_accuracy: Accuracy on pictures that were not used for training; `None` if there are
            none.
        error: Why the job failed, in one sentence.
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


class JobRunner:
    """Runs one training job at a time; thread-safe."""

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
    def current(self) -> Job | None:
        """The running job, or the last one."""
        with self._lock:
            return self._job

    def start_quick(self, classes: Sequence[TaughtClass], max_pixels: int) -> bool:
        """Train a head on frozen features; returns false if another job is running.

        Args:
            classes: The taught classes.
            max_pixels: Largest number of pixels of a picture.
        """
        return self._start(Job("quick"), lambda: self._train_quick(classes, max_pixels))

    def start_full(self, classes: Sequence[TaughtClass], recipe: Recipe) -> bool:
        """Save the pictures and train a run on them; returns false if another job is running."""
        return self._start(Job("full"), lambda: self._train_full(classes, recipe))

    def cancel(self) -> None:
        """Stop the running job, if any."""
        self._stopping.set()
        with self._lock:
            process = self._process
        if process is not None:
            process.terminate()

    def close(self) -> None:
        """Stop the running job and wait for its end; its process is killed after a timeout."""
        self.cancel()
        thread = self._thread
        if thread is None:
            return
        thread.join(_STOP_TIMEOUT)
        with self._lock:
            process = self._process
        if process is not None:
            process.kill()
        thread.join()

    def _start(self, job: Job, train: Callable[[], None]) -> bool:
        with self._lock:
            if self._job is not None and self._job.state == "running":
                return False
            self._job = job
            self._stopping.clear()
            self._thread = threading.Thread(target=self._run, args=(train,), name="teach-job")
            self._thread.start()
            return True

    def _run(self, train: Callable[[], None]) -> None:
        try:
            train()
        except Exception as error:
            # The page must show every failure; unexpected errors are also raised, for the log.
            self._update(state="failed", error=str(error) or type(error).__name__)
            if not isinstance(error, OSError | PretrainedError | RuntimeError):
                raise

    def _update(self, **changes: Any) -> None:
        with self._lock:
            assert self._job is not None
            self._job = dataclasses.replace(self._job, **changes)

    def _train_quick(self, classes: Sequence[TaughtClass], max_pixels: int) -> None:
        from chifoumi_jax.play.teach.quick import Cancelled, quick_classifier

        def progress(done: int, total: int) -> None:
            if self._stopping.is_set():
                raise Cancelled
            self._update(stage="learning", step=done, steps=total)

        pixels = [
            read_pixels(transfer, frame.jpeg, max_pixels)
            for taught in classes
            for frame in taught.frames
        ]
        labels = np.repeat(np.arange(len(classes)), [len(taught.frames) for taught in classes])
        try:
            classifier = quick_classifier(
                np.stack(pixels),
                labels.astype(np.int32),
                [taught.name for taught in classes],
                progress,
            )
        except Cancelled:
            self._update(state="stopped")
            return
        self._publish(Model("quick", classifier, None))

    def _train_full(self, classes: Sequence[TaughtClass], recipe: Recipe) -> None:
        saved = save_photos(classes, self._runs)
        self._update(photos=str(saved.photos))
        changes = _RECIPE_CHANGES[recipe] | {
            "name": _RUN_NAME,
            "data": str(saved.photos),
            "groups": str(saved.groups),
            "runs": str(self._runs),
        }
        result: dict[str, Any] = {}
        with self._training_process({"recipe": recipe, "changes": changes}) as process:
            assert process.stdout is not None
            for line in process.stdout:
                event = json.loads(line)
                if "steps" in event:
                    stage = "judging" if event["step"] == event["steps"] else "learning"
                    self._update(stage=stage, **event)
                else:
                    result = event
        if "done" in result:
            directory = Path(result["done"])
            self._update(stage="loading", run=str(directory), test_accuracy=result["accuracy"])
            self._publish(Model(directory.name, load(directory), directory))
        elif "stopped" in result or self._stopping.is_set():
            self._update(state="stopped", run=result.get("stopped"))
        else:
            crash = f"the training ended with exit code {process.returncode}"
            self._update(state="failed", error=result.get("error", crash))

    @contextlib.contextmanager
    def _training_process(self, request: dict[str, Any]) -> Iterator[subprocess.Popen[str]]:
        module = "chifoumi_jax.play.teach.train_process"
        command = [sys.executable, "-m", module, json.dumps(request)]
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

    def _publish(self, model: Model) -> None:
        self._update(stage="loading")
        self._worker.warm_up(model.classifier, 1).result()
        self._models.set_taught(model)
        self._update(state="done")


@functools.cache
def transfer_problem() -> str | None:
    """Why the recipe `transfer` is not available, in one sentence; `None` if it is.

    The result is cached: weights that are installed later count from the next start.
    """
    try:
        architecture(transfer.model).require()
    except PretrainedError as error:
        return str(error)
    return None
