"""A recipe's training on a data set: compile, initialise, train, evaluate, write the report."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from chifoumi_jax import distributed
from chifoumi_jax.backbones import architecture
from chifoumi_jax.data.order import Order
from chifoumi_jax.data.pipeline import Resident, Streamed, padded_size
from chifoumi_jax.files import write_json
from chifoumi_jax.losses import class_weights
from chifoumi_jax.ops import native
from chifoumi_jax.recipes import Recipe
from chifoumi_jax.training import calibration, checkpoint, evaluation, resources, run
from chifoumi_jax.training.display import Display, duration
from chifoumi_jax.training.interrupt import StopRequest
from chifoumi_jax.training.program_cache import program_of
from chifoumi_jax.training.progress import DivergedError, Progress, Stopped
from chifoumi_jax.training.run import Run
from chifoumi_jax.training.saving import Saver, restore
from chifoumi_jax.training.step import TrainState

if TYPE_CHECKING:
    from chifoumi_jax.data.dataset import Dataset


class Trainer:
    """A recipe's training on a data set.

    Attributes:
        recipe: The recipe.
        data: The photos.
        order: Which images are in each batch.
        program: The compiled functions.
        seeds: Keys of the initial weights and of the steps' noise.
        feed: Gives the images to the devices.
    """

    def __init__(self, recipe: Recipe, data: Dataset, display: Display):
        self.recipe = recipe
        self.data = data
        self.display = display
        batch_size = recipe.batch_size or len(data.train)
        if recipe.order == "all":
            # A batch of all images at most, because padding takes memory too.
            batch_size = min(batch_size, len(data.train))
        order = Order(
            images=len(data.train),
            batch_size=batch_size,
            epochs=recipe.epochs,
            seed=recipe.seed,
            kind=recipe.order,
        )
        # With few photos an epoch has few steps, so that `min_steps` needs more epochs.
        min_epochs = -(-recipe.min_steps // order.steps_per_epoch)
        self.order = dataclasses.replace(order, epochs=max(recipe.epochs, min_epochs))
        self.program = program_of(
            recipe,
            len(data.classes),
            len(self.order),
            class_weights(data.train.labels, len(data.classes)) if recipe.balance else None,
        )
        # Two variables, because indexing an array of keys takes a millisecond, as long as a step.
        keys = self.program.seeds(recipe.seed)
        self.seeds = keys[0], keys[1]
        self._evaluation = evaluation.Evaluation(recipe, self.program, data)
        self._compiled: dict[bool, Any] = {}
        images = data.pixels, data.train, self.order
        size = padded_size(self.order.batch_size, self.program.devices)
        fits = not distributed.any_of(not resources.fits_beside(data.nbytes))
        self.feed = (
            Resident(*images, size, self.program.replicated) if fits else Streamed(*images, size)
        )

    def compile(self, directory: Path) -> None:
        """Compile the step, print its requirements, and check that they fit.

        Args:
            directory: A folder on the disk that will hold the checkpoints.

        Raises:
            DoesNotFitError: If there is too little memory or disk space.
        """
        start = time.monotonic()
        state = self.program.abstract_state()
        compiled = self.steps(self.order.epochs - 1, state)
        required = resources.estimate(compiled, checkpoint.size(state.trees()))
        devices = f"{self.program.devices} {jax.devices()[0].device_kind.upper()}"
        self.display.say(
            f"{self.recipe.name}: {sum(leaf.size for leaf in jax.tree.leaves(state.params)):,} "
            f"parameters on {devices} (compiled in {duration(time.monotonic() - start)}); "
            f"{required.sentence()}."
        )
        compiled_kernels = architecture(self.recipe.model).has_native_kernels
        if native.absence and compiled_kernels and jax.default_backend() == "cpu":
            self.display.warn(f"Training takes two to three times as long: {native.absence}.")
        resources.check(required, directory)

    def initial_state(self) -> TrainState:
        """The state before the first step.

        Raises:
            PretrainedError: If the recipe begins with pretrained weights that are not installed.
        """
        if not self.recipe.pretrained:
            return self.program.init(self.seeds[0])
        from chifoumi_jax.training.transfer import initial_state

        if self.recipe.head_first:
            self.display.say("Training the last layer first, on the pretrained network's features.")
        return initial_state(self.seeds[0], self.recipe, self.program, self.data)

    def write_config(self, directory: Path) -> None:
        """Write the run's `config.json`, and `photos.json` with the photos that it uses."""
        if not distributed.is_first():
            return
        scan = self.data.scan
        run.write_config(
            directory,
            self.recipe,
            classes=list(scan.classes),
            data={
                "folder": str(scan.root),
                "fingerprint": scan.fingerprint,
                "hands": self.data.hands,
                "train": len(self.data.train),
                "valid": len(scan.valid),
                "test": len(scan.test),
            },
            device=f"{self.program.devices} x {jax.devices()[0].device_kind}",
        )
        splits = {"train": self.data.train.photos, "valid": scan.valid}
        run.write_training_photos(
            directory, {name: [photo.sha256 for photo in each] for name, each in splits.items()}
        )

    def train(
        self, directory: Path, state: TrainState, progress: Progress, stop: StopRequest
    ) -> Run:
        """Take the remaining steps, then evaluate and write the report.

        Raises:
            Stopped: If the user pressed Ctrl-C; the state is saved.
        """
        self.feed.seek(progress.step, progress.iterator)
        saver = Saver(directory, self.feed)
        stop.deferred = True
        with self.display.training(self.order, progress.step) as bar:
            while not self.is_done(progress):
                epoch, step_in_epoch = divmod(progress.step, self.order.steps_per_epoch)
                start = time.monotonic()
                count = self.order.steps_per_epoch - step_in_epoch
                if not distributed.several():
                    count = min(bar.stride, count)
                state = self._take_steps(state, progress, count, epoch)
                elapsed = time.monotonic() - start
                progress.seconds += elapsed
                bar.show(progress.step, progress.loss, progress.accuracy, progress.seconds)
                bar.record_step_time(elapsed / count)
                epoch_ends = step_in_epoch + count == self.order.steps_per_epoch
                stopping = distributed.any_of(stop.requested)
                if epoch_ends:
                    progress.end_epoch(self._epoch_row(state, progress, epoch))
                    saver.end_epoch(state, progress, self.is_done(progress) or stopping)
                    # After the save, because a reader of this line may rely on it.
                    bar.end_epoch(progress.history[-1])
                elif stopping:
                    saver.save(state, progress)
                if stopping and not self.is_done(progress):
                    raise Stopped(directory)
        if self.recipe.patience and progress.best_step != progress.step:
            early = "Stopped early. " if progress.step < len(self.order) else ""
            self.display.say(
                f"{early}Keeping step {progress.best_step}, the best of {progress.step} steps."
            )
            state, _ = restore(directory, self.program, progress.best_step or 0)
        self._finish(directory, state)
        distributed.wait_for_all()
        return run.read(directory)

    def is_done(self, progress: Progress) -> bool:
        """Whether all epochs are done, or early stopping ends the training."""
        # The warm-up does not count, because no improvement can be expected during it.
        since_best = progress.step - max(progress.best_step or 0, self.recipe.warmup_steps)
        exhausted = since_best >= self.recipe.patience * self.order.steps_per_epoch
        stop_early = bool(self.recipe.patience) and progress.best_step is not None and exhausted
        return progress.step == len(self.order) or stop_early

    def _take_steps(
        self, state: TrainState, progress: Progress, count: int, epoch: int
    ) -> TrainState:
        take_steps = self.steps(epoch, state)
        taken = []
        for part in self.feed.parts(progress.step, count):
            first, number = np.int32(part.first), np.int32(part.number)
            state, sums = take_steps(state, part.photos, part.rows, first, number, self.seeds[1])
            taken.append((part, sums))
        progress.add_sums(taken)
        return state

    def _epoch_row(self, state: TrainState, progress: Progress, epoch: int) -> dict[str, float]:
        seconds = progress.seconds
        row = {
            "epoch": epoch + 1,
            "step": progress.step,
            "loss": progress.loss.mean,
            "accuracy": progress.accuracy.mean,
            **({} if self.recipe.order != "keras" else self._study_row(state, progress, epoch)),
            **self._evaluation.validation(state.weights),
            "learning_rate": self.program.learning_rate(progress.step - 1),
            "seconds": round(seconds, 3),
            "images_per_second": round(progress.loss.images / seconds, 1),
        }
        self._require_finite(row, f"epoch {epoch + 1}")
        return row

    def _require_finite(self, numbers: Mapping[str, Any], when: str) -> None:
        names = [n for n, v in numbers.items() if isinstance(v, float) and not math.isfinite(v)]
        if names:
            raise DivergedError(
                f"the training diverged: {names[0]} is {numbers[names[0]]} after {when}. "
                f"Take a smaller --learning-rate than {self.recipe.learning_rate:g}."
            )

    def _study_row(self, state: TrainState, progress: Progress, epoch: int) -> dict[str, float]:
        return {
            "study_loss": progress.loss.printed,
            "study_accuracy": progress.accuracy.printed,
            **self._evaluation.study_validation(state.weights, epoch),
        }

    def _finish(self, directory: Path, state: TrainState) -> None:
        from chifoumi_jax.training.pictures import write_report

        self.display.say("Evaluating.")
        results, outcome = self._evaluation.results(state.weights)
        self._require_finite(results, "the last epoch")
        calibrated = self._evaluation.calibration(state.weights)
        if not distributed.is_first():
            return
        if calibrated is not None:
            write_json(directory / calibration.FILE, dataclasses.asdict(calibrated))
            self.display.say(calibration.sentence(calibrated))
        write_report(directory, run.read(directory).history, self.data, outcome)
        write_json(directory / "results.json", results)
        for text in evaluation.sentences(results):
            self.display.say(text)
        self.display.say(f"The run is in {directory}.")

    def _has_dropout(self, epoch: int) -> bool:
        return self.recipe.dropout_epochs < 0 or epoch < self.recipe.dropout_epochs

    def steps(self, epoch: int, state: TrainState) -> Any:
        """The compiled `program.steps` of an epoch, counted from 0."""
        dropout = self._has_dropout(epoch)
        if dropout not in self._compiled:
            part, number = self.feed.abstract(), jax.ShapeDtypeStruct((), jnp.int32)
            self._compiled[dropout] = self.program.steps.lower(
                state, part.photos, part.rows, number, number, self.seeds[1], dropout
            ).compile()
        return self._compiled[dropout]
