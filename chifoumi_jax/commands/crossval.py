"""`chifoumi crossval`: test a pretrained network on sessions that it never saw."""

from __future__ import annotations

from pathlib import Path

from chifoumi_jax.commands.options import FromRecipe, RecipeName, exact_epochs, require_at_least
from chifoumi_jax.commands.output import print_table
from chifoumi_jax.errors import RecipeError
from chifoumi_jax.recipes import RECIPES


def crossval(
    data: Path,
    groups: Path | None = None,
    folds: int = 5,
    heads: tuple[int, ...] = (0, 1, 2),
    full: bool = False,
    recipe: RecipeName = "transfer",
    directed: bool = False,
    train_list: Path | None = None,
    epochs: FromRecipe[int] = None,
    image_size: FromRecipe[int] = None,
    seed: int = 0,
    out: Path = Path("crossval"),
) -> int:
    """Test a pretrained network on photos of sessions that it did not learn from.

    The network runs once over every photo. A head of each depth is trained on its features for each
    fold, and tested on the photos of that fold. A table and a plot show every fold.

    Args:
        data: Folder <class>/<photos>, of which all photos are used, or {train,…}/<class>/<photos>,
            of which only train is used.
        groups: CSV file with the columns path,session; a session is never split.
        folds: Number of folds.
        heads: Numbers of hidden layers to try; 0 is a linear head.
        full: Also train the whole network for each fold. The trainings are kept in --out, so that
            the same command continues after an interruption.
        recipe: A recipe with a pretrained network.
        directed: The classes differ in direction, such as thumb up and thumb down: no photo is
            mirrored or rotated far.
        train_list: Text file of paths, one a line, that selects the photos.
        epochs: Number of epochs of --full.
        image_size: Height and width of the network's input, in pixels.
        seed: Seed of the folds and of the training.
        out: Folder for crossval.json, crossval.png and the trainings.
    """
    from chifoumi_jax.training.crossval import cross_validate

    require_at_least(2, folds, "--folds")
    if not heads and not full:
        raise RecipeError("no model to test: name depths after --heads, or give --full")
    if epochs is not None and not full:
        raise RecipeError("--epochs needs --full: give --full too, or leave out --epochs")
    for depth in heads:
        require_at_least(0, depth, "--heads")
    fields = {"image_size": image_size, "groups": groups, "train_list": train_list}
    given = {name: value for name, value in fields.items() if value is not None}
    chosen = RECIPES[recipe].directed() if directed else RECIPES[recipe]
    chosen = chosen.replace(data=data, seed=seed, runs=out, **given, **exact_epochs(epochs))
    divided, rows = cross_validate(chosen, folds=folds, depths=heads, full=full)
    numbers = [str(fold + 1) for fold in range(folds)]
    print_table(
        ["model", "mean", "spread", *(f"fold {number}" for number in numbers)],
        [
            [row.name, *(f"{share:.1%}" for share in (row.mean, row.spread, *row.accuracies))]
            for row in rows
        ],
    )
    print(f"{divided.sentence}. The plot is in {out}.")
    return 0
