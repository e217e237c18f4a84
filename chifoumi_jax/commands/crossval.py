"""`chifoumi crossval`: a pretrained network tested on sessions that it never saw."""

from __future__ import annotations

from pathlib import Path

from chifoumi_jax.commands.options import FromRecipe, RecipeName, exactly, require_at_least
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
    """Judge a pretrained network on photos of sessions that it did not learn from.

    The network runs once over every photo. On what comes out, a head of each depth is trained for
    each fold and judged on the photos left out. A table and a plot show every fold.

    Args:
        data: Folder <class>/<photos>, all of which are used, or {train,…}/<class>/<photos>, of
            which train is.
        groups: CSV file with the columns path,session; a session never stands on both sides.
        folds: How many.
        heads: Numbers of hidden layers to try; 0 is a linear head.
        full: Also train the whole network for each fold; kept in --out, so that a stopped command
            goes on where it was.
        recipe: One with a pretrained network.
        directed: As for train.
        train_list: Text file of paths, one a line, that selects the photos.
        epochs: Of --full.
        image_size: Height and width of the network's input.
        seed: Of the division and of the training.
        out: Folder for crossval.json, crossval.png and the trainings.
    """
    from chifoumi_jax.training.crossval import cross_validate

    require_at_least(2, folds, "--folds")
    if not heads and not full:
        raise RecipeError("nothing to judge: name depths after --heads, or give --full")
    if epochs is not None and not full:
        raise RecipeError("--epochs is of whole trainings: give --full too, or leave it out")
    for depth in heads:
        require_at_least(0, depth, "--heads")
    fields = {"image_size": image_size, "groups": groups, "train_list": train_list}
    given = {name: value for name, value in fields.items() if value is not None}
    chosen = RECIPES[recipe].directed() if directed else RECIPES[recipe]
    chosen = chosen.replace(data=data, seed=seed, runs=out, **given, **exactly(epochs))
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
