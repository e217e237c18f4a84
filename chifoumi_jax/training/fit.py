"""`fit(recipe)` and `resume(run)`: a whole training, from the photos to the saved run."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from chifoumi_jax import distributed
from chifoumi_jax.backbones import architecture
from chifoumi_jax.environment import cuda_clash
from chifoumi_jax.errors import RecipeError
from chifoumi_jax.files import making
from chifoumi_jax.recipes import Recipe
from chifoumi_jax.training import checkpoint, run
from chifoumi_jax.training.display import Display
from chifoumi_jax.training.interrupt import StopRequest, stop_requests
from chifoumi_jax.training.progress import Progress
from chifoumi_jax.training.run import Run, RunError
from chifoumi_jax.training.saving import restore
from chifoumi_jax.training.trainer import Trainer

if TYPE_CHECKING:
    from chifoumi_jax.data.dataset import Dataset


def fit(recipe: Recipe, *, quiet: bool = False, display: Display | None = None) -> Run:
    """Train by a recipe, in a new folder under `recipe.runs`.

    Args:
        recipe: For instance `recipes.cnn.replace(data="photos/")`.
        quiet: Print nothing but warnings.
        display: Shows the progress; by default on standard error.

    Raises:
        DataError: If the folder of photos cannot be trained on.
        DoesNotFitError: If there is too little memory or disk space.
        CheckpointError: If a checkpoint could not be saved.
        DivergedError: If the loss is no longer finite.
        PretrainedError: If the recipe begins with pretrained weights that are not installed.
        Stopped: If the user pressed Ctrl-C; the run is saved.
    """
    if display is None:
        display = Display(quiet=quiet or not distributed.is_first())
    with stop_requests() as stop:
        return _fit(recipe, display, stop)


def _fit(recipe: Recipe, display: Display, stop: StopRequest) -> Run:
    if clash := cuda_clash():
        display.warn(f"Warning: {clash}.")
    if recipe.pretrained:
        architecture(recipe.model).require()
    with making(recipe.runs):
        data = read_photos(recipe, recipe.runs, display)
    _require_same_photos(data)
    if recipe.patience and not len(data.valid):
        raise RecipeError(
            "--patience needs validation photos, and there are none: add a folder valid, or give "
            "--valid-share"
        )
    trainer = Trainer(recipe, data, display)
    trainer.compile(recipe.runs)
    state = trainer.initial_state()
    number = distributed.broadcast_first(run.create(recipe) if distributed.is_first() else 0)
    directory = run.directory(recipe, number)
    with _locked(directory):
        trainer.write_config(directory)
        return trainer.train(directory, state, Progress(), stop)


def resume(
    directory: str | os.PathLike[str], *, epochs: int | None = None, quiet: bool = False
) -> Run:
    """Continue a run from its newest intact checkpoint, as if it had never stopped.

    Args:
        directory: The run's folder.
        epochs: New total number of epochs. It works with a constant learning rate only, because
            another length would change the schedule of the epochs that are done.
        quiet: Print nothing but warnings.

    Raises:
        RunError: If the folder is not a run, is in use, or its photos have changed.
        CheckpointError: If no checkpoint is intact.
        Stopped: If the user pressed Ctrl-C; the run is saved.
    """
    display, directory = Display(quiet=quiet or not distributed.is_first()), Path(directory)
    recipe, config = run.read_config(directory)
    if epochs is not None and epochs != recipe.epochs:
        if recipe.schedule != "constant":
            raise RunError(
                f"{directory} lowers its learning rate over {recipe.epochs} epochs, so it cannot "
                f"be resumed with another number; start a new run with --epochs {epochs}"
            )
        recipe = recipe.replace(epochs=epochs)
    with stop_requests() as stop, _locked(directory):
        step, problems = checkpoint.newest(directory / "checkpoints")
        for problem in problems:
            display.warn(f"Skipped a damaged checkpoint: {problem}.")
        if step is None:
            raise checkpoint.CheckpointError(
                f"{directory} has no intact checkpoint to resume from; start a new run"
            )
        data = read_photos(recipe, directory, display)
        if data.hands != config["data"].get("hands", ""):
            raise RunError(
                f"the rendered hands differ from those that {directory} started with; "
                "start a new run"
            )
        if data.scan.fingerprint != config["data"]["fingerprint"]:
            raise RunError(
                f"the photos in {data.scan.root} differ from those that {directory} started with; "
                "restore them, or start a new run"
            )
        trainer = Trainer(recipe, data, display)
        state, progress = restore(directory, trainer.program, step)
        if not trainer.is_done(progress):
            trainer.compile(directory)
            trainer.write_config(directory)
            display.say(f"Resuming {directory} after step {step}.")
        elif (directory / "results.json").exists():
            display.say(f"{directory} is complete: it ended after epoch {len(progress.history)}.")
            return run.read(directory)
        return trainer.train(directory, state, progress, stop)


def fit_once(recipe: Recipe, *, quiet: bool = False) -> Run:
    """The recipe's run in `recipe.runs`: an existing one, resumed if unfinished, or a new one.

    Raises:
        UserError: As `fit` and `resume`.
        Stopped: If the user pressed Ctrl-C; the run is saved.
    """
    for directory in sorted(recipe.runs.glob(f"{recipe.name}-*")):
        if not run.is_run(directory) or run.read_config(directory)[0] != recipe.absolute():
            continue
        # A run that was stopped before its first checkpoint cannot be resumed.
        with contextlib.suppress(checkpoint.CheckpointError):
            return resume(directory, quiet=quiet)
    return fit(recipe, quiet=quiet)


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Hold the run's lock, in the first process only, which is the one that writes."""
    with run.locked(directory) if distributed.is_first() else contextlib.nullcontext():
        yield


def read_photos(recipe: Recipe, store_in: Path, display: Display) -> Dataset:
    """Scan and decode the recipe's folder or the rendered hands, and print what was found."""
    from chifoumi_jax.data.dataset import hands_folder, hands_path, load_dataset
    from chifoumi_jax.data.problems import describe
    from chifoumi_jax.text import printable

    directory = recipe.data
    if directory is None:
        display.say(f"No --data given: training on the rendered hands in {hands_path()}.")
        if not hands_path().is_dir():
            display.say("They are drawn first, only once; this takes about a minute.")
        with display.counting("Drawing hands") as progress:
            directory = hands_folder(progress)
    with display.counting("Reading photos") as progress:

        def wild_hands(count: int) -> Path:
            if not hands_path(count).is_dir():
                display.say(f"Drawing {count:,} hands to train on, only once; this takes minutes.")
            return hands_folder(progress, wild=count)

        data = load_dataset(recipe, directory, store_in, progress, wild_hands=wild_hands)
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
    if rendered := len(data.train) - len(data.scan.train):
        display.say(f"{rendered:,} of the training images are rendered hands.")
    elif recipe.hands:
        display.say("No rendered hands are added: the classes are not paper, rock and scissors.")
    return data


def _require_same_photos(data: Dataset) -> None:
    own = int((data.hands or data.scan.fingerprint)[:7], 16)
    if distributed.any_of(distributed.broadcast_first(own) != own):
        raise RunError(
            f"the processes see different photos in {data.scan.root}; give all the same files"
        )
