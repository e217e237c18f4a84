"""A recipe trained with several seeds: how often it learns, and how well.

    python -m benchmarks.seeds --recipe cnn --image-size 150 --seeds 20

Every finished run is kept under `--report`, so that a stopped command goes on where it was.
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

# Of three classes chance is a third; a run below a half after its training has learnt nothing.
AT_CHANCE = 0.5


@dataclasses.dataclass(frozen=True)
class Seeds:
    """What to train.

    Attributes:
        report: Folder for the runs and `seeds.json`.
        recipe: What to train.
        image_size: Height and width of the network's input; the recipe's own by default.
        epochs: How often every photo is shown; the recipe's own by default.
        precision: Of the products; the recipe's own by default.
        data: Folder of photos; rendered hands by default.
        train_list: Selects the training photos.
        test_list: Selects the test photos.
        first_seed: The first.
        seeds: How many, counted up from the first.
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

    def plan(self, seed: int) -> recipes.Recipe:
        """The recipe with this seed."""
        fields = ("image_size", "epochs", "precision", "data", "train_list", "test_list")
        given = {name: value for name in fields if (value := getattr(self, name)) is not None}
        return recipes.RECIPES[self.recipe].replace(
            **given, seed=seed, runs=self.report / f"seed-{seed}"
        )


def row(run: Run, seed: int) -> dict[str, Any]:
    """What the table says of a run."""
    return {
        "seed": seed,
        "train_accuracy": run.results["train_accuracy"],
        "test_accuracy": run.results["test_accuracy"],
        "test_images": run.results["test_images"],
        "seconds_an_epoch": statistics.median(epoch["seconds"] for epoch in run.history),
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as Markdown, then one line on all of them."""
    lines = ["| seed | training accuracy | test accuracy | seconds an epoch |", "|---|---|---|---|"]
    lines += [
        f"| {each['seed']} | {each['train_accuracy']:.2%} | {each['test_accuracy']:.2%} "
        f"| {each['seconds_an_epoch']:.1f} |"
        for each in rows
    ]
    train, test = ([each[f"{part}_accuracy"] for each in rows] for part in ("train", "test"))
    lost = sum(accuracy < AT_CHANCE for accuracy in train)
    lines.append(
        f"\n{lost} of {len(rows)} at chance; training accuracy {spread(train)}; "
        f"test accuracy {spread(test)}."
    )
    return "\n".join(lines)


def spread(values: Sequence[float]) -> str:
    """Median, smallest and largest."""
    return f"{statistics.median(values):.2%} ({min(values):.2%} to {max(values):.2%})"


def main() -> None:
    """Train what is not trained yet, and print the table."""
    asked = tyro.cli(Seeds, description=__doc__)
    rows = []
    for seed in range(asked.first_seed, asked.first_seed + asked.seeds):
        rows.append(row(fit_once(asked.plan(seed), quiet=True), seed))
        print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    write_json(asked.report / "seeds.json", rows)
    print(table(rows))


if __name__ == "__main__":
    main()
