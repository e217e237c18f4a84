"""Training: `fit(recipe)`, `resume(run)`, and `python -m chifoumi_jax.train`."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from chifoumi_jax import calibration, checkpoint, evaluation, needs, processes, run
from chifoumi_jax.backbones import backbone
from chifoumi_jax.data.order import Order
from chifoumi_jax.data.pipeline import Part, Resident, Streamed, padded_size
from chifoumi_jax.display import Display, duration
from chifoumi_jax.environment import cuda_clash
from chifoumi_jax.files import making, write_json
from chifoumi_jax.kept_programs import program_of
from chifoumi_jax.losses import class_weights
from chifoumi_jax.metrics import Running
from chifoumi_jax.ops import native
from chifoumi_jax.program import Program
from chifoumi_jax.recipes import Recipe, RecipeError
from chifoumi_jax.run import Run, RunError
from chifoumi_jax.step import Sums, TrainState

if TYPE_CHECKING:
    from chifoumi_jax.data.dataset import Dataset

# A save may cost that share of the time since the last one; so short epochs share a save.
_SAVE_SHARE = 0.1


class Stopped(KeyboardInterrupt):
    """The user stopped a training, which was saved; `directory` is its run."""

    def __init__(self, directory: Path):
        super().__init__(f"stopped and saved in {directory}")
        self.directory = directory

    def __reduce__(self) -> tuple[type[Stopped], tuple[Path]]:
        """From one process to another it is made anew, of the folder and not of the sentence."""
        return type(self), (self.directory,)


class DivergedError(RunError):
    """A training's numbers left what float32 holds; the message says when, and what to do."""


@dataclasses.dataclass
class Progress:
    """Where a training stands, besides its arrays: what `progress.json` holds.

    Attributes:
        step: Steps taken.
        iterator: State of Grain's iterator over the batches, where they are read ahead.
        loss: Of the epoch so far.
        accuracy: Of the epoch so far.
        seconds: That the epoch took so far.
        history: A row for each finished epoch.
        best_step: Step of the best checkpoint.
        best_score: Its validation accuracy and negative loss; without validation, training's.
    """

    step: int = 0
    iterator: Any = None
    loss: Running = dataclasses.field(default_factory=Running)
    accuracy: Running = dataclasses.field(default_factory=Running)
    seconds: float = 0.0
    history: list[dict[str, float]] = dataclasses.field(default_factory=list)
    best_step: int | None = None
    best_score: list[float] | None = None

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Progress:
        """The inverse of `dataclasses.asdict`."""
        running = {name: Running(**values[name]) for name in ("loss", "accuracy")}
        return cls(**values | running)

    def settle(self, found: Sequence[tuple[Part, Sums]]) -> None:
        """Take in the sums of some steps; waits for the devices."""
        for part, sums in found:
            rows = slice(part.first, part.first + part.number)
            for loss, correct, images in zip(*(np.asarray(s)[rows] for s in sums), strict=True):
                self.loss.add(float(loss), float(images))
                self.accuracy.add(float(correct), float(images))
            self.step += part.number

    def end_epoch(self, row: dict[str, float]) -> None:
        """Keep a finished epoch's row and begin the next."""
        self.history.append(row)
        self.loss, self.accuracy, self.seconds = Running(), Running(), 0.0

    def improves(self) -> bool:
        """Whether the epoch just ended is better than the best checkpoint."""
        return self.best_score is None or self._score() > self.best_score

    def mark_best(self) -> None:
        """Call the checkpoint that is about to be saved the best."""
        self.best_step, self.best_score = self.step, self._score()

    def _score(self) -> list[float]:
        row = self.history[-1]
        if "valid_loss" in row:
            return [row["valid_accuracy"], -row["valid_loss"]]
        return [row["accuracy"], -row["loss"]]


def fit(recipe: Recipe, *, quiet: bool = False, display: Display | None = None) -> Run:
    """Train as the recipe says, in a new folder under `recipe.runs`.

    Args:
        recipe: For instance `recipes.cnn.replace(data="photos/")`.
        quiet: Say nothing but warnings.
        display: Who is told how it goes; standard error if not given.

    Raises:
        DataError: If the folder of photos cannot be trained on.
        DoesNotFitError: If memory or disk do not suffice.
        CheckpointError: If a checkpoint could not be saved.
        DivergedError: If the loss is no number any more.
        PretrainedError: If the recipe begins with weights that are not there.
        Stopped: If the user pressed Ctrl-C; the run is saved.
    """
    if display is None:
        display = Display(quiet=quiet or not processes.is_first())
    with _stop_requests() as stop:
        return _fit(recipe, display, stop)


def _fit(recipe: Recipe, display: Display, stop: _Stop) -> Run:
    if clash := cuda_clash():
        display.warn(f"Warning: {clash}.")
    if recipe.pretrained:
        backbone(recipe).require()
    with making(recipe.runs):
        data = read_photos(recipe, recipe.runs, display)
    _require_same_photos(data)
    if recipe.patience and not len(data.valid):
        raise RecipeError(
            "patience waits for better answers on validation photos, and there are none: add a "
            "folder valid, or give --valid-share"
        )
    trainer = Trainer(recipe, data, display)
    trainer.compile(recipe.runs)
    state = trainer.begin()
    number = processes.of_first(run.create(recipe) if processes.is_first() else 0)
    directory = run.directory(recipe, number)
    with _locked(directory):
        trainer.write_config(directory)
        return trainer.train(directory, state, Progress(), stop)


def resume(
    directory: str | os.PathLike[str], *, epochs: int | None = None, quiet: bool = False
) -> Run:
    """Go on with a run from its newest whole checkpoint, as if it had never stopped.

    Args:
        directory: The run's folder.
        epochs: Train up to this epoch instead; with a constant learning rate only, since another
            length would change the schedule of the epochs that are done.
        quiet: Say nothing but warnings.

    Raises:
        RunError: If the folder is no run, is in use, or its photos have changed.
        CheckpointError: If no checkpoint is whole.
        Stopped: As `fit`.
    """
    display, directory = Display(quiet=quiet or not processes.is_first()), Path(directory)
    recipe, config = run.read_config(directory)
    if epochs is not None and epochs != recipe.epochs:
        if recipe.schedule != "constant":
            raise RunError(
                f"{directory} lowers its learning rate over {recipe.epochs} epochs, so that it "
                f"cannot become a run of {epochs}; start a new one with --epochs {epochs}"
            )
        recipe = recipe.replace(epochs=epochs)
    with _stop_requests() as stop, _locked(directory):
        step, ailments = checkpoint.newest(directory / "checkpoints")
        for ailment in ailments:
            display.warn(f"Passed over a checkpoint: {ailment}.")
        if step is None:
            raise checkpoint.CheckpointError(
                f"{directory} has no whole checkpoint to go on from; start a new run"
            )
        data = read_photos(recipe, directory, display)
        if data.hands != config["data"].get("hands", ""):
            raise RunError(
                f"the rendered hands are not those that {directory} started with: start a new run"
            )
        if data.scan.fingerprint != config["data"]["fingerprint"]:
            raise RunError(
                f"the photos in {data.scan.root} are not those that {directory} started with; "
                "put them back, or start a new run"
            )
        trainer = Trainer(recipe, data, display)
        state, progress = restore(directory, trainer.program, step)
        if not trainer.is_done(progress):
            trainer.compile(directory)
            trainer.write_config(directory)
            display.say(f"Going on with {directory} after step {step}.")
        elif (directory / "results.json").exists():
            display.say(f"{directory} is complete: {len(progress.history)} epochs are done.")
            return run.read(directory)
        return trainer.train(directory, state, progress, stop)


def fit_once(recipe: Recipe, *, quiet: bool = False) -> Run:
    """The recipe's run in `recipe.runs`: the one that is there, gone on with, or a new one.

    Raises:
        Stopped: And others, as `fit` and `resume`.
    """
    for directory in sorted(recipe.runs.glob(f"{recipe.name}-*")):
        if not run.is_run(directory) or run.read_config(directory)[0] != recipe.absolute():
            continue
        # One that was stopped before its first checkpoint has nothing to go on from.
        with contextlib.suppress(checkpoint.CheckpointError):
            return resume(directory, quiet=quiet)
    return fit(recipe, quiet=quiet)


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Hold the run's lock, in the process that writes to it."""
    with run.locked(directory) if processes.is_first() else contextlib.nullcontext():
        yield


def restore(directory: Path, program: Program, step: int) -> tuple[TrainState, Progress]:
    """State and progress of a run's checkpoint.

    Raises:
        CheckpointError: If it is not whole.
    """
    path = directory / "checkpoints" / f"{step:08d}"
    trees, progress = checkpoint.load(path, program.abstract_state().trees())
    return TrainState(**trees), Progress.from_json(progress)


def read_photos(recipe: Recipe, store_in: Path, display: Display) -> Dataset:
    """The recipe's folder, or the rendered hands, scanned and decoded; says what was found."""
    from chifoumi_jax.data.dataset import hands_folder, hands_path, load_dataset
    from chifoumi_jax.data.problems import describe
    from chifoumi_jax.text import printable

    directory = recipe.data
    if directory is None:
        display.say(f"No --data given: training on the rendered hands in {hands_path()}.")
        if not hands_path().is_dir():
            display.say("Drawing them first, this once; it takes about a minute.")
        with display.counting("Drawing hands") as progress:
            directory = hands_folder(progress)
    with display.counting("Reading photos") as progress:

        def mixed_in(count: int) -> Path:
            if not hands_path(count).is_dir():
                display.say(f"Drawing {count:,} hands to train on, this once; it takes minutes.")
            return hands_folder(progress, wild=count)

        data = load_dataset(recipe, directory, store_in, progress, wild_hands=mixed_in)
    for line in describe(data.scan.problems):
        display.warn(line)
    counts = ", ".join(
        f"{len(split)} to {purpose}"
        for split, purpose in ((data.train, "train"), (data.valid, "validate"), (data.test, "test"))
        if len(split)
    )
    display.say(
        f"{len(data.classes)} classes ({', '.join(map(printable, data.classes))}): {counts}."
    )
    if drawn := len(data.train) - len(data.scan.train):
        display.say(f"{drawn:,} of those to train on are rendered hands.")
    elif recipe.hands:
        display.say("No rendered hands are mixed in: the classes are not paper, rock, scissors.")
    return data


def _require_same_photos(data: Dataset) -> None:
    mine = int((data.hands or data.scan.fingerprint)[:7], 16)
    if processes.any_of(processes.of_first(mine) != mine):
        raise RunError(f"the processes do not see the same photos in {data.scan.root}")


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
        fits = not processes.any_of(not needs.fits_beside(data.nbytes))
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
        found = needs.estimate(compiled, checkpoint.size(state.trees()))
        devices = f"{self.program.devices} {jax.devices()[0].device_kind.upper()}"
        self.display.say(
            f"{self.recipe.name}: {sum(leaf.size for leaf in jax.tree.leaves(state.params)):,} "
            f"parameters on {devices} (compiled in {duration(time.monotonic() - start)}); "
            f"{found.sentence()}."
        )
        if native.absence and self.recipe.model == "cnn" and jax.default_backend() == "cpu":
            self.display.warn(f"Two to three times as slow as it could be: {native.absence}.")
        needs.check(found, directory)

    def begin(self) -> TrainState:
        """The state before the first step.

        Raises:
            PretrainedError: If the recipe begins with weights that are not there.
        """
        if not self.recipe.pretrained:
            return self.program.init(self.seeds[0])
        from chifoumi_jax.transfer import begin

        if self.recipe.head_first:
            self.display.say("Training the last layer first, on what the network makes of each.")
        return begin(self.seeds[0], self.recipe, self.program, self.data)

    def write_config(self, directory: Path) -> None:
        """Write the run's `config.json`, and which photos it goes by."""
        if not processes.is_first():
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

    def train(self, directory: Path, state: TrainState, progress: Progress, stop: _Stop) -> Run:
        """Take the remaining steps, then evaluate and write the report.

        Raises:
            Stopped: If the user asked for it; the state is saved.
        """
        self.feed.seek(progress.step, progress.iterator)
        checkpoints = _Checkpoints(directory, self.feed)
        stop.later = True
        with self.display.training(self.order, progress.step) as bar:
            while not self.is_done(progress):
                epoch, place = divmod(progress.step, self.order.steps_per_epoch)
                began = time.monotonic()
                count = self.order.steps_per_epoch - place
                if not processes.several():
                    count = min(bar.stride, count)
                state = self._take_steps(state, progress, count, epoch)
                took = time.monotonic() - began
                progress.seconds += took
                bar.show(progress.step, progress.loss, progress.accuracy, progress.seconds)
                bar.pace(took / count)
                epoch_ends = place + count == self.order.steps_per_epoch
                stopping = processes.any_of(stop.asked)
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
        processes.wait_for_all()
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
        from chifoumi_jax.report import write_report

        self.display.say("Evaluating.")
        results, outcomes = self._evaluation.results(state.weights)
        self._require_finite(results, "the last epoch")
        measured = self._evaluation.calibration(state.weights)
        if not processes.is_first():
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


class _Checkpoints:
    """Saves a run's state as often as a save is worth its time; the best state waits in memory."""

    def __init__(self, directory: Path, feed: Resident | Streamed):
        self._directory = directory
        self._feed = feed
        self._saved_at, self._cost = -float("inf"), 0.0
        self._best: tuple[int, dict[str, Any], dict[str, Any]] | None = None

    def end_epoch(self, state: TrainState, progress: Progress, last: bool) -> None:
        """Save a finished epoch if it is the last or the last save is long ago."""
        is_best = progress.improves()
        if is_best:
            progress.mark_best()
        long_ago = time.monotonic() - self._saved_at >= self._cost / _SAVE_SHARE
        if last or processes.of_first(long_ago):
            self.save(state, progress)
        elif is_best:
            # Copies: the next step takes the state's own memory.
            trees = jax.tree.map(jnp.copy, state.trees())
            self._best = (progress.step, trees, self._as_json(progress))

    def save(self, state: TrainState, progress: Progress) -> None:
        """Save, the best state of before too, and remove what is no longer needed."""
        start = time.monotonic()
        checkpoints = self._directory / "checkpoints"
        if self._best is not None and self._best[0] == progress.best_step != progress.step:
            checkpoint.save(checkpoints, *self._best)
        self._best = None
        checkpoint.save(checkpoints, progress.step, state.trees(), self._as_json(progress))
        if processes.is_first():
            checkpoint.prune(checkpoints, progress.best_step)
            run.write_metrics(self._directory, progress.history)
        self._saved_at = time.monotonic()
        self._cost = self._saved_at - start

    def _as_json(self, progress: Progress) -> dict[str, Any]:
        progress.iterator = self._feed.state()
        return dataclasses.asdict(progress)


class _Stop:
    """Whether the user wants to stop.

    Attributes:
        asked: Set by the first Ctrl-C or SIGTERM.
        later: Whether that waits for the training to look; before, it interrupts at once. An
            interrupt that somebody's callback swallows is not lost: it was asked for.
    """

    def __init__(self) -> None:
        self.asked = False
        self.later = False


@contextlib.contextmanager
def _stop_requests() -> Iterator[_Stop]:
    """What the first Ctrl-C (or SIGTERM) sets; the second one ends the process at once."""
    stop = _Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    signals = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in signals}

    def request(number: int, frame: object) -> None:
        stop.asked = True
        for each in signals:
            signal.signal(each, before[each])
        if not stop.later:
            raise KeyboardInterrupt

    for number in signals:
        signal.signal(number, request)
    try:
        yield stop
    finally:
        for number in signals:
            signal.signal(number, before[number])


if __name__ == "__main__":
    import sys

    from chifoumi_jax.cli import main

    main(["train", *sys.argv[1:]])
