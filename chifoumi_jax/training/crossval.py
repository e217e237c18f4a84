"""Cross-validation: each session's photos are tested by a model that never saw the session.

The pretrained network runs once over every photo. A head of each depth is trained on its features
for each fold, in one compiled program for all folds. With `full` the whole recipe is also trained
for each fold.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32, Int32

from chifoumi_jax.backbones import architecture
from chifoumi_jax.data.dataset import Dataset, load_dataset
from chifoumi_jax.data.folder.lists import read_groups
from chifoumi_jax.data.folder.split import group_tied
from chifoumi_jax.data.problems import DataError, describe
from chifoumi_jax.environment import require_installed
from chifoumi_jax.errors import RecipeError
from chifoumi_jax.files import making, write_atomically, write_json
from chifoumi_jax.losses import smoothed_cross_entropy
from chifoumi_jax.metrics import confusion_matrix
from chifoumi_jax.recipes import Recipe
from chifoumi_jax.text import printable
from chifoumi_jax.training import run
from chifoumi_jax.training.display import Display
from chifoumi_jax.training.fit import fit_once
from chifoumi_jax.training.heads import logits, train_head
from chifoumi_jax.training.program_cache import program_of
from chifoumi_jax.training.transfer import split_features, with_pretrained

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FINE_TUNED = "fine-tuned"


@dataclasses.dataclass(frozen=True)
class Row:
    """The results of one kind of model.

    Attributes:
        name: Name of the kind, such as "linear head".
        accuracies: Accuracy on each fold.
        confusion: Number of photos of all folds by true class (rows) and predicted class (columns).
    """

    name: str
    accuracies: tuple[float, ...]
    confusion: tuple[tuple[int, ...], ...]

    @property
    def mean(self) -> float:
        """Mean of the folds' accuracies."""
        return float(np.mean(self.accuracies))

    @property
    def spread(self) -> float:
        """Standard deviation of the folds' accuracies."""
        return float(np.std(self.accuracies, ddof=1))


@dataclasses.dataclass(frozen=True)
class Folds:
    """The division of the photos into folds.

    Attributes:
        data: The photos.
        fold_of: The fold of each training photo, counted from 0.
        sessions: Number of sessions; None if no sessions were named.
        number: Number of folds.
    """

    data: Dataset
    fold_of: Int32[np.ndarray, " images"]
    sessions: int | None
    number: int

    @property
    def sentence(self) -> str:
        """The number of photos and of sessions, in words."""
        sessions = "" if self.sessions is None else f" of {self.sessions} sessions"
        return f"{len(self.fold_of)} photos{sessions}"


def cross_validate(
    recipe: Recipe,
    *,
    folds: int = 5,
    depths: Sequence[int] = (0, 1, 2),
    full: bool = False,
    quiet: bool = False,
) -> tuple[Folds, list[Row]]:
    """Cross-validate a recipe's network, and write the result into `recipe.runs`.

    The photos are those that the recipe trains on. If the folder has no test folder, they are all
    photos. The folds have about equal numbers of photos of each class, and no session
    (`recipe.groups`) is in two folds. The trainings of `full` are kept in `fold-<n>/`, so that a
    finished one is not repeated.

    Args:
        recipe: A recipe that begins with pretrained weights.
        folds: Number of folds.
        depths: Numbers of hidden layers of the heads.
        full: Also train the whole network for each fold.
        quiet: Print nothing but warnings.

    Raises:
        RecipeError: If the recipe has no pretrained network.
        DataError: If the photos cannot be divided into these folds.
        PretrainedError: If there are no pretrained weights.
    """
    if not recipe.pretrained:
        raise RecipeError(f"{recipe.name} has no pretrained network: take --recipe transfer")
    if recipe.data is None:
        raise RecipeError("give --data: a folder of photos")
    require_installed("crossval", "sklearn", extra="crossval")
    architecture(recipe.model).require()
    display = Display(quiet=quiet)
    with making(recipe.runs), display.counting("Reading photos") as progress:
        only_photos = recipe.replace(hands=0, valid_share=0.0)
        data = load_dataset(
            only_photos, recipe.data, recipe.runs, progress, test_share=0.0, divided_later=True
        )
        divided = divide(recipe, data, folds)
    for line in describe(data.scan.problems):
        display.warn(line)
    if recipe.groups is None:
        display.warn(
            "Without --groups, photos of one session are both trained on and tested on: the "
            "accuracy is that on photos like the training photos."
        )
    rows = _head_rows(recipe, divided, depths)
    if full:
        rows.append(_fine_tuned_row(recipe, divided, display))
    write(recipe.runs, divided, rows)
    return divided, rows


def divide(recipe: Recipe, data: Dataset, number: int) -> Folds:
    """Divide the training photos into folds, stratified by class and grouped by session.

    Raises:
        DataError: If there are fewer sessions than folds, fewer photos of each class than folds, or
            a class that is in one fold only.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    sessions = {} if recipe.groups is None else read_groups(recipe.groups)
    photos = data.train.photos
    ties = {
        photo.path: [("content", photo.sha256)]
        + [("session", sessions[photo.path]) for _ in range(photo.path in sessions)]
        for photo in photos
    }
    unit_of = {path: number for number, unit in enumerate(group_tied(ties)) for path in unit}
    groups = np.array([unit_of[photo.path] for photo in photos])
    count = len(set(unit_of.values()))
    if count < number:
        units = "different photos" if recipe.groups is None else "sessions"
        remedy = f"take --folds {count} or less" if count > 1 else f"add {units}"
        raise DataError(f"{count} {units} cannot be divided into {number} folds; {remedy}")
    most = int(np.bincount(data.train.labels).max())
    if most < number:
        raise DataError(
            f"no class has as many photos as there are folds ({number}); take --folds {most} or "
            "less, or add photos"
        )
    for label, name in enumerate(data.classes):
        if len(set(groups[data.train.labels == label])) == 1:
            one = "one photo or its copies" if recipe.groups is None else "photos of one session"
            raise DataError(
                f"all photos of {printable(name)} are {one}: without their fold there is none to "
                "train on; add others, or leave the class out"
            )
    splitter = StratifiedGroupKFold(number, shuffle=True, random_state=recipe.seed)
    fold_of = np.zeros(len(photos), np.int32)
    with warnings.catch_warnings():
        # It warns of a class with fewer photos than folds, which is allowed: see the check below.
        warnings.simplefilter("ignore", UserWarning)
        for fold, (_, held_out) in enumerate(splitter.split(groups, data.train.labels, groups)):
            fold_of[held_out] = fold
    for fold in range(number):
        held_out = fold_of == fold
        missing = set(range(len(data.classes))) - set(data.train.labels[~held_out].tolist())
        if missing or not held_out.any():
            name = printable(data.classes[min(missing)]) if missing else "every class"
            raise DataError(
                f"without fold {fold + 1} there is no photo of {name} to train on: it has too few "
                "sessions; take fewer --folds, or photos of more sessions"
            )
    return Folds(data, fold_of, count if sessions else None, number)


def _head_rows(recipe: Recipe, folds: Folds, depths: Sequence[int]) -> list[Row]:
    data = folds.data
    program = program_of(recipe, len(data.classes))
    state = with_pretrained(jax.random.key(recipe.seed), recipe, program)
    features, labels = split_features(
        program, state.weights, data.pixels, data.train, mirrored=recipe.mirror_test
    )
    # 2 if the mirror images are used too, else 1.
    views = len(labels) // len(folds.fold_of)
    fold_of = np.tile(folds.fold_of, views)
    loss = smoothed_cross_entropy(recipe.label_smoothing)
    # A row for each fold: weight 0 for its own photos.
    fold_weights = jnp.asarray(fold_of != np.arange(folds.number)[:, None], jnp.float32)
    rows = []
    for depth in depths:

        def probabilities(weights: jax.Array, depth: int = depth) -> jax.Array:
            head = train_head(
                jax.random.key(recipe.seed),
                jnp.asarray(features),
                jnp.asarray(labels),
                weights,
                classes=len(data.classes),
                depth=depth,
                loss=loss,
            )
            answers = jax.nn.softmax(logits(head, jnp.asarray(features)))
            return answers.reshape(views, -1, answers.shape[-1]).mean(0)

        # One fold after the other, because all at once would hold the features once for each fold.
        by_fold = np.asarray(jax.lax.map(probabilities, fold_weights))
        name = {0: "linear head", 1: "1 hidden layer"}.get(depth, f"{depth} hidden layers")
        held_out = by_fold[folds.fold_of, np.arange(len(folds.fold_of))]
        rows.append(_row(name, folds, held_out))
    return rows


def _fine_tuned_row(recipe: Recipe, folds: Folds, display: Display) -> Row:
    runs = []
    for fold in range(folds.number):
        directory = recipe.runs / f"fold-{fold + 1}"
        display.say(f"Fold {fold + 1} of {folds.number}: {directory}.")
        runs.append(_fold_run(recipe, folds, fold, directory))
    matrix = np.sum([each.results["test_confusion"] for each in runs], axis=0)
    accuracies = tuple(each.test_accuracy for each in runs)
    return Row(FINE_TUNED, accuracies, tuple(map(tuple, matrix.tolist())))


def _fold_run(recipe: Recipe, folds: Folds, fold: int, directory: Path) -> run.Run:
    """The fold's run: a finished one, an unfinished one that is resumed, or a new one."""
    paths = np.array([photo.path for photo in folds.data.train.photos])
    directory.mkdir(exist_ok=True)
    lists = {}
    for name, chosen in (("train", folds.fold_of != fold), ("test", folds.fold_of == fold)):
        file = lists[f"{name}_list"] = directory / f"{name}.txt"
        # Without ./ a name that begins with # would be a comment.
        text = "".join(f"./{path}\n" for path in paths[chosen])
        if file.exists() and file.read_text() != text:
            raise DataError(
                f"{directory} holds a training on other folds (another number of --folds, other "
                "--groups or other photos): give another --out"
            )
        write_atomically(file, text)
    return fit_once(recipe.replace(runs=directory, **lists), quiet=True)


def _row(name: str, folds: Folds, probabilities: Float32[np.ndarray, "images classes"]) -> Row:
    labels = folds.data.train.labels
    right = probabilities.argmax(1) == labels
    accuracies = tuple(float(right[folds.fold_of == fold].mean()) for fold in range(folds.number))
    matrix = confusion_matrix(labels, probabilities)
    return Row(name, accuracies, tuple(map(tuple, matrix.tolist())))


def write(directory: Path, folds: Folds, rows: Sequence[Row]) -> None:
    """Write `crossval.json` and `crossval.png`."""
    from chifoumi_jax.training.pictures import save_figure

    sizes = np.bincount(folds.fold_of, minlength=folds.number).tolist()
    report = {
        "classes": list(folds.data.classes),
        "photos": len(folds.fold_of),
        "sessions": folds.sessions,
        "photos_of_folds": sizes,
        "rows": [
            dataclasses.asdict(row) | {"mean": row.mean, "spread": row.spread} for row in rows
        ],
    }
    write_json(directory / "crossval.json", report)
    save_figure(plot(folds, rows), directory / "crossval.png")


def plot(folds: Folds, rows: Sequence[Row]) -> Figure:
    """A plot of each fold's accuracy and of their mean, for each kind of model."""
    from chifoumi_jax.training.pictures import new_figure

    figure = new_figure(1.8 + 1.4 * len(rows), 3.6)
    axes = figure.subplots()
    for fold in range(folds.number):
        places = [place + 0.08 * (fold - (folds.number - 1) / 2) for place in range(len(rows))]
        axes.plot(places, [row.accuracies[fold] for row in rows], "o", color="#2a6f97", alpha=0.6)
    for place, row in enumerate(rows):
        axes.hlines(row.mean, place - 0.35, place + 0.35, color="#d1495b")
        axes.annotate(f"{row.mean:.1%}", (place, row.mean), (0, 4), textcoords="offset points")
    axes.set_xticks(range(len(rows)), [row.name for row in rows])
    axes.set_ylabel("accuracy on the fold left out")
    axes.grid(axis="y", alpha=0.3)
    axes.set_title(f"{folds.number} folds of {folds.sentence}; line: mean", fontsize=10)
    return figure
