"""Cross-validation: each session's photos judged by a model that never saw the session.

The pretrained network runs once over every photo; on its features a head of each depth is trained
for each fold, all folds at once. With `full` the whole recipe is trained for each fold besides.
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
from chifoumi_jax.data.folder.split import bind
from chifoumi_jax.data.problems import DataError, describe
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
    """What one kind of model reached.

    Attributes:
        name: Of the kind.
        accuracies: Of each fold.
        confusion: Photos of all folds by true and predicted class.
    """

    name: str
    accuracies: tuple[float, ...]
    confusion: tuple[tuple[int, ...], ...]

    @property
    def mean(self) -> float:
        """Of the folds' accuracies."""
        return float(np.mean(self.accuracies))

    @property
    def spread(self) -> float:
        """Their standard deviation."""
        return float(np.std(self.accuracies, ddof=1))


@dataclasses.dataclass(frozen=True)
class Folds:
    """Who judges whom.

    Attributes:
        data: The photos.
        of: Each training photo's fold.
        sessions: Number of sessions; None if nobody named them.
        number: Number of folds.
    """

    data: Dataset
    of: Int32[np.ndarray, " images"]
    sessions: int | None
    number: int

    @property
    def sentence(self) -> str:
        """What was divided, in words."""
        of = "" if self.sessions is None else f" of {self.sessions} sessions"
        return f"{len(self.of)} photos{of}"


def cross_validate(
    recipe: Recipe,
    *,
    folds: int = 5,
    depths: Sequence[int] = (0, 1, 2),
    full: bool = False,
    quiet: bool = False,
) -> tuple[Folds, list[Row]]:
    """Cross-validate a recipe's network, and write the result into its runs' folder.

    The photos are those that the recipe trains on; of a folder without a test folder, all. Folds
    hold about as many photos of each class, and no session (`recipe.groups`) stands in two. The
    trainings of `full` are kept in `fold-<n>/`: what is done is not done again.

    Args:
        recipe: One that begins with pretrained weights.
        folds: How many.
        depths: Numbers of hidden layers of the heads.
        full: Also train the whole network for each fold.
        quiet: Say nothing but warnings.

    Raises:
        RecipeError: If the recipe has no pretrained network.
        DataError: If the photos cannot be divided so.
        PretrainedError: If there are no pretrained weights.
    """
    if not recipe.pretrained:
        raise RecipeError(f"{recipe.name} has no pretrained network: take --recipe transfer")
    if recipe.data is None:
        raise RecipeError("give --data: a folder of photos")
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
            "Without --groups photos of one session stand on both sides, and the accuracy is that "
            "on photos like those it learnt from."
        )
    rows = _heads(recipe, divided, depths)
    if full:
        rows.append(_full(recipe, divided, display))
    write(recipe.runs, divided, rows)
    return divided, rows


def divide(recipe: Recipe, data: Dataset, number: int) -> Folds:
    """Divide the training photos into folds, stratified by class and grouped by session.

    Raises:
        DataError: If there are fewer sessions than folds, fewer photos of each class, or a class
            stands in one fold alone.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    sessions = {} if recipe.groups is None else read_groups(recipe.groups)
    photos = data.train.photos
    bonds = {
        photo.path: [("content", photo.sha256)]
        + [("session", sessions[photo.path]) for _ in range(photo.path in sessions)]
        for photo in photos
    }
    unit_of = {path: number for number, unit in enumerate(bind(bonds)) for path in unit}
    groups = np.array([unit_of[photo.path] for photo in photos])
    count = len(set(unit_of.values()))
    if count < number:
        units = "photos that differ" if recipe.groups is None else "sessions"
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
            one = "one photo, or copies of one" if recipe.groups is None else "one session"
            raise DataError(
                f"all photos of {printable(name)} are of {one}: without the fold that has it none "
                "is left to train on; add others, or leave the class out"
            )
    splitter = StratifiedGroupKFold(number, shuffle=True, random_state=recipe.seed)
    of = np.zeros(len(photos), np.int32)
    with warnings.catch_warnings():
        # Of a class with fewer photos than there are folds, which may be: see below.
        warnings.simplefilter("ignore", UserWarning)
        for fold, (_, held) in enumerate(splitter.split(groups, data.train.labels, groups)):
            of[held] = fold
    for fold in range(number):
        held = of == fold
        missing = set(range(len(data.classes))) - set(data.train.labels[~held].tolist())
        if missing or not held.any():
            name = printable(data.classes[min(missing)]) if missing else "every class"
            raise DataError(
                f"without fold {fold + 1} there is no photo of {name} to train on: it has too few "
                "sessions; take fewer --folds, or photos of more sessions"
            )
    return Folds(data, of, count if sessions else None, number)


def _heads(recipe: Recipe, folds: Folds, depths: Sequence[int]) -> list[Row]:
    data = folds.data
    program = program_of(recipe, len(data.classes))
    state = with_pretrained(jax.random.key(recipe.seed), recipe, program)
    features, labels = split_features(
        program, state.weights, data.pixels, data.train, mirrored=recipe.mirror_test
    )
    sides = len(labels) // len(folds.of)
    of = np.tile(folds.of, sides)
    loss = smoothed_cross_entropy(recipe.label_smoothing)
    every = jnp.asarray(of != np.arange(folds.number)[:, None], jnp.float32)
    rows = []
    for depth in depths:

        def held_out(weights: jax.Array, depth: int = depth) -> jax.Array:
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
            return answers.reshape(sides, -1, answers.shape[-1]).mean(0)

        # Fold after fold: all at once would hold the features as often.
        found = np.asarray(jax.lax.map(held_out, every))
        name = {0: "linear head", 1: "1 hidden layer"}.get(depth, f"{depth} hidden layers")
        rows.append(_row(name, folds, found[folds.of, np.arange(len(folds.of))]))
    return rows


def _full(recipe: Recipe, folds: Folds, display: Display) -> Row:
    runs = []
    for fold in range(folds.number):
        directory = recipe.runs / f"fold-{fold + 1}"
        display.say(f"Fold {fold + 1} of {folds.number}: {directory}.")
        runs.append(_trained(recipe, folds, fold, directory))
    matrix = np.sum([found.results["test_confusion"] for found in runs], axis=0)
    accuracies = tuple(found.test_accuracy for found in runs)
    return Row(FINE_TUNED, accuracies, tuple(map(tuple, matrix.tolist())))


def _trained(recipe: Recipe, folds: Folds, fold: int, directory: Path) -> run.Run:
    """The fold's training: found, gone on with, or begun."""
    paths = np.array([photo.path for photo in folds.data.train.photos])
    directory.mkdir(exist_ok=True)
    lists = {}
    for name, chosen in (("train", folds.of != fold), ("test", folds.of == fold)):
        file = lists[f"{name}_list"] = directory / f"{name}.txt"
        # With ./ a name that begins with # is no comment.
        text = "".join(f"./{path}\n" for path in paths[chosen])
        if file.exists() and file.read_text() != text:
            raise DataError(
                f"{directory} holds a training of photos that were divided otherwise, by another "
                "number of --folds, other --groups or other photos: give another --out"
            )
        write_atomically(file, text)
    return fit_once(recipe.replace(runs=directory, **lists), quiet=True)


def _row(name: str, folds: Folds, probabilities: Float32[np.ndarray, "images classes"]) -> Row:
    labels = folds.data.train.labels
    right = probabilities.argmax(1) == labels
    accuracies = tuple(float(right[folds.of == fold].mean()) for fold in range(folds.number))
    matrix = confusion_matrix(labels, probabilities)
    return Row(name, accuracies, tuple(map(tuple, matrix.tolist())))


def write(directory: Path, folds: Folds, rows: Sequence[Row]) -> None:
    """Write `crossval.json` and `crossval.png`."""
    from chifoumi_jax.training.pictures import save_figure

    sizes = np.bincount(folds.of, minlength=folds.number).tolist()
    found = {
        "classes": list(folds.data.classes),
        "photos": len(folds.of),
        "sessions": folds.sessions,
        "photos_of_folds": sizes,
        "rows": [
            dataclasses.asdict(row) | {"mean": row.mean, "spread": row.spread} for row in rows
        ],
    }
    write_json(directory / "crossval.json", found)
    save_figure(plot(folds, rows), directory / "crossval.png")


def plot(folds: Folds, rows: Sequence[Row]) -> Figure:
    """Each fold's accuracy, and the mean, by kind of model."""
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
