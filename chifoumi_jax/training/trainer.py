"""A recipe's training on a data set: compile, begin, take the steps, evaluate, write."""

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
        recipe: What to do.
        data: On what.
        order: Which images make up each batch.
        program: What runs on the devices.
        seeds: Keys of the initial weights and of the steps' noise.
        feed: Hands the images to the devices.
    """

    def __init__(self, recipe: Recipe, data: Dataset, display: Display):
        self.recipe = recipe
        self.data = data
        self.display = display
        batch_size = recipe.batch_size or len(data.train)
        if recipe.order == "all":
            # What a batch lacks of its size is padding, which takes memory.
            batch_size = min(batch_size, len(data.train))
        order = Order(
            images=len(data.train),
            batch_size=batch_size,
            epochs=recipe.epochs,
            seed=recipe.seed,
            kind=recipe.order,
        )
        # Of few photos an epoch has few steps.
        least = -(-recipe.min_steps // order.steps_per_epoch)
        self.order = dataclasses.replace(order, epochs=max(recipe.epochs, least))
        self.program = program_of(
            recipe,
            len(data.classes),
            len(self.order),
            class_weights(data.train.labels, len(data.classes)) if recipe.balance else None,
        )
        # Apart: to take a key out of an array of keys takes a millisecond, as long as steps do.
        keys = self.program.seeds(recipe.seed)
        self.seeds = keys[0], keys[1]
        self._evaluation = evaluation.Evaluation(recipe, self.program, data)
        self._compiled: dict[bool, Any] = {}
        given = data.pixels, data.train, self.order
        size = padded_size(self.order.batch_size, self.program.devices)
        fits = not distributed.any_of(not resources.fits_beside(data.nbytes))
        self.feed = (
            Resident(*given, size, self.program.replicated) if fits else Streamed(*given, size)
        )

    def compile(self, directory: Path) -> None:
        """Compile the step, say what it needs, and refuse what `directory`'s machine lacks.

        Raises:
            DoesNotFitError: If memory or disk do not suffice.
        """
        start = time.monotonic()
        state = self.program.abstract_state()
        compiled = self.steps(self.order.epochs - 1, state)
        found = resources.estimate(compiled, checkpoint.size(state.trees()))
        devices = f"{self.program.devices} {jax.devices()[0].device_kind.upper()}"
        self.display.say(
            f"{self.recipe.name}: {sum(leaf.size for leaf in jax.tree.leaves(state.params)):,} "
            f"parameters on {devices} (compiled in {duration(time.monotonic() - start)}); "
            f"{found.sentence()}."
        )
        compiled_kernels = architecture(self.recipe.model).has_native_kernels
        if native.absence and compiled_kernels and jax.default_backend() == "cpu":
            self.display.warn(f"Two to three times as slow as it could be: {native.absence}.")
        resources.check(found, directory)

    def begin(self) -> TrainState:
        """The state before the first step.

        Raises:
            PretrainedError: If the recipe begins with weights that are not there.
        """
        if not self.recipe.pretrained:
            return self.program.init(self.seeds[0])
        from chifoumi_jax.training.transfer import begin

        if self.recipe.head_first:
            self.display.say("Training the last layer first, on what the network makes of each.")
        return begin(self.seeds[0], self.recipe, self.program, self.data)

    def write_config(self, directory: Path) -> None:
        """Write the run's `config.json`, and which photos it goes by."""
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
        learnt = {"train": self.data.train.photos, "valid": scan.valid}
        run.write_learnt(
            directory, {name: [photo.sha256 for photo in each] for name, each in learnt.items()}
        )

    def train(
        self, directory: Path, state: TrainState, progress: Progress, stop: StopRequest
    ) -> Run:
        """Take the remaining steps, then evaluate and write the report.

        Raises:
            Stopped: If the user asked for it; the state is saved.
        """
        self.feed.seek(progress.step, progress.iterator)
        checkpoints = Saver(directory, self.feed)
        stop.later = True
        with self.display.training(self.order, progress.step) as bar:
            while not self.is_done(progress):
                epoch, place = divmod(progress.step, self.order.steps_per_epoch)
                began = time.monotonic()
                count = self.order.steps_per_epoch - place
                if not distributed.several():
                    count = min(bar.stride, count)
                state = self._take_steps(state, progress, count, epoch)
                took = time.monotonic() - began
                progress.seconds += took
                bar.show(progress.step, progress.loss, progress.accuracy, progress.seconds)
                bar.pace(took / count)
                epoch_ends = place + count == self.order.steps_per_epoch
                stopping = distributed.any_of(stop.asked)
                if epoch_ends:
                    progress.end_epoch(self._row(state, progress, epoch))
                    checkpoints.end_epoch(state, progress, self.is_done(progress) or stopping)
                    # After the save: who reads that an epoch is done may count on it.
                    bar.end_epoch(progress.history[-1])
                elif stopping:
                    checkpoints.save(state, progress)
                if stopping and not self.is_done(progress):
                    raise Stopped(directory)
        if self.recipe.patience and progress.best_step != progress.step:
            early = "Stopped early: k" if progress.step < len(self.order) else "K"
            self.display.say(f"{early}ept step {progress.best_step}, the best of {progress.step}.")
            state, _ = restore(directory, self.program, progress.best_step or 0)
        self._finish(directory, state)
        distributed.wait_for_all()
        return run.read(directory)

    def is_done(self, progress: Progress) -> bool:
        """Whether all epochs are done, or none of the last was better than one before."""
        # During the warm-up nothing can be expected yet.
        since_best = progress.step - max(progress.best_step or 0, self.recipe.warmup_steps)
        waited = since_best >= self.recipe.patience * self.order.steps_per_epoch
        gave_up = bool(self.recipe.patience) and progress.best_step is not None and waited
        return progress.step == len(self.order) or gave_up

    def _take_steps(
        self, state: TrainState, progress: Progress, count: int, epoch: int
    ) -> TrainState:
        take_steps = self.steps(epoch, state)
        found = []
        for part in self.feed.parts(progress.step, count):
            first, number = np.int32(part.first), np.int32(part.number)
            state, sums = take_steps(state, part.photos, part.rows, first, number, self.seeds[1])
            found.append((part, sums))
        progress.settle(found)
        return state

    def _row(self, state: TrainState, progress: Progress, epoch: int) -> dict[str, float]:
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
        lost = [n for n, v in numbers.items() if isinstance(v, float) and not math.isfinite(v)]
        if lost:
            raise DivergedError(
                f"the training diverged: {lost[0]} is {numbers[lost[0]]} after {when}. "
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
        results, outcomes = self._evaluation.results(state.weights)
        self._require_finite(results, "the last epoch")
        measured = self._evaluation.calibration(state.weights)
        if not distributed.is_first():
            return
        if measured is not None:
            write_json(directory / calibration.FILE, dataclasses.asdict(measured))
            self.display.say(calibration.sentence(measured))
        write_report(directory, run.read(directory).history, self.data, outcomes)
        write_json(directory / "results.json", results)
        for text in evaluation.sentences(results):
            self.display.say(text)
        self.display.say(f"The run is in {directory}.")

    def _dropout(self, epoch: int) -> bool:
        return self.recipe.dropout_epochs < 0 or epoch < self.recipe.dropout_epochs

    def steps(self, epoch: int, state: TrainState) -> Any:
        """The compiled `program.steps` of an epoch, counted from 0."""
        dropout = self._dropout(epoch)
        if dropout not in self._compiled:
            part, number = self.feed.abstract(), jax.ShapeDtypeStruct((), jnp.int32)
            self._compiled[dropout] = self.program.steps.lower(
                state, part.photos, part.rows, number, number, self.seeds[1], dropout
            ).compile()
        return self._compiled[dropout]
