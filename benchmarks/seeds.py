"""Trains a recipe with several seeds, to see how often it learns and how well.

    python -m benchmarks.seeds --recipe cnn --image-size 150 --seeds 20

Finished runs are kept under `--report`, so that a stopped command resumes where it was.
"""

import dataclasses
import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tyro

from chifoumi_jax import recipes
from chifoumi_jax.commands.options import RecipeName
from chifoumi_jax.files import write_json
from chifoumi_jax.recipes import Precision
from chifoumi_jax.training.fit import fit_once
from chifoumi_jax.training.run import Run

# Chance is a third with three classes; a trained run below a half has learnt nothing.
AT_CHANCE = 0.5


@dataclasses.dataclass(frozen=True)
class Options:
    """Command line options.

    Attributes:
        report: Folder for the runs and `seeds.json`.
        recipe: Recipe to train.
        image_size: Height and width of the network's input, in pixels; the recipe's own by default.
        epochs: Number of epochs; the recipe's own by default.
        precision: Precision of matrix products; the recipe's own by default.
        data: Folder of photos; rendered hands by default.
        train_list: File that selects the training photos.
        test_list: File that selects the test photos.
        first_seed: The first seed.
        seeds: Number of seeds, counted up from the first.
    """

    report: Path
    recipe: RecipeName = "cnn"
    image_size: int | None = None
    epochs: int | None = None
    precision: Precision | None = None
    data: Path | None = None
    train_list: Path | None = None
    test_list: Path | None = None
    first_seed: int = 0
    seeds: int = 5

    def recipe_with(self, seed: int) -> recipes.Recipe:
        """The recipe with the given options and this seed."""
        fields = ("image_size", "epochs", "precision", "data", "train_list", "test_list")
        changes = {name: value for name in fields if (value := getattr(self, name)) is not None}
        return recipes.RECIPES[self.recipe].replace(
            **changes, seed=seed, runs=self.report / f"seed-{seed}"
        )


def row(run: Run, seed: int) -> dict[str, Any]:
    """The values of a run that the table shows."""
    return {
        "seed": seed,
        "train_accuracy": run.results["train_accuracy"],
        "test_accuracy": run.results["test_accuracy"],
        "test_images": run.results["test_images"],
        "seconds_an_epoch": statistics.median(epoch["seconds"] for epoch in run.history),
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Format the rows as Markdown, with a summary in the last line."""
    lines = ["| seed | training accuracy | test accuracy | seconds an epoch |", "|---|---|---|---|"]
    lines += [
        f"| {each['seed']} | {each['train_accuracy']:.2%} | {each['test_accuracy']:.2%} "
        f"| {each['seconds_an_epoch']:.1f} |"
        for each in rows
    ]
    train, test = ([each[f"{part}_accuracy"] for each in rows] for part in ("train", "test"))
    at_chance = sum(accuracy < AT_CHANCE for accuracy in train)
    lines.append(
        f"\n{at_chance} of {len(rows)} at chance; training accuracy {spread(train)}; "
        f"test accuracy {spread(test)}."
    )
    return "\n".join(lines)


def spread(values: Sequence[float]) -> str:
    """Median, minimum and maximum."""
    return f"{statistics.median(values):.2%} ({min(values):.2%} to {max(values):.2%})"


def main() -> None:
    """Run the trainings that are missing, and print the table."""
    options = tyro.cli(Options, description=__doc__)
    rows = []
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        rows.append(row(fit_once(options.recipe_with(seed), quiet=True), seed))
        print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    write_json(options.report / "seeds.json", rows)
    print(table(rows))


if __name__ == "__main__":
    main()
