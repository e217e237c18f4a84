"""Accuracy on photos that a model has never seen: what each lever gives, and source by source.

A training is kept under the report's folder, so that a stopped command goes on where it was. It is
judged on each folder of photos; what it is trained on has the folder `train` beside `test`.
"""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.levers import LEVERS, Lever
from chifoumi_jax.data.dataset import hands_folder
from chifoumi_jax.evaluation import Outcome
from chifoumi_jax.files import write_atomically, write_json
from chifoumi_jax.judge import Judged, judge
from chifoumi_jax.metrics import confusion_matrix
from chifoumi_jax.report import confusion, mistakes, new_figure, save_figure
from chifoumi_jax.run import Run
from chifoumi_jax.train import fit_once

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HANDS = "rendered hands"
# The rows that are the cross-source matrix: what a model was trained on.
SOURCES = {
    "photos": "without rendered hands",
    "rendered hands": "rendered hands alone",
    "both": "all together",
}


@dataclasses.dataclass(frozen=True)
class Plan:
    """What to train and to judge.

    Attributes:
        report: Folder for the trainings, the tables and the pictures.
        photos: Folder {train,test,valid}/<class>/<photos>.
        others: Further folders to judge by, `<class>/<photos>` or with `test`.
        groups: The sessions of `photos`.
        seeds: How many, counted up from 0.
        rows: Names of the levers; all by default.
        changes: Of every recipe, to see that everything runs.
        say: Gets a line for each training.
    """

    report: Path
    photos: Path
    others: Sequence[Path]
    groups: Path | None
    seeds: int
    rows: Sequence[str]
    changes: Mapping[str, Any]
    say: Callable[[str], None]

    def levers(self) -> Iterator[Lever]:
        """The rows that were asked for."""
        return (lever for lever in LEVERS if not self.rows or lever.name in self.rows)

    def folders(self) -> dict[str, Path]:
        """What a model is judged by."""
        splits = [name for name in ("test", "valid") if (self.photos / name).is_dir()]
        own = {f"photos, {name}": self.photos / name for name in splits}
        others = {str(folder): folder for folder in self.others}
        return own | {HANDS: hands_folder()} | others


def measure(plan: Plan) -> dict[str, Any]:
    """Train what is not trained yet, judge it, and write tables and pictures.

    Returns:
        What `accuracy.json` holds.
    """
    kept = plan.report / "accuracy.json"
    rows = (
        {row["name"]: row for row in json.loads(kept.read_bytes())["rows"]} if kept.exists() else {}
    )
    found: dict[str, Any] = {}
    for lever in plan.levers():
        runs = [_train(plan, lever, seed) for seed in range(plan.seeds)]
        rows[lever.name] = _row(plan, lever, runs)
        plan.say(_line(rows[lever.name]))
        # The rows of an earlier call stay.
        ordered = [rows[each.name] for each in LEVERS if each.name in rows]
        found = {"photos": str(plan.photos), "changes": dict(plan.changes), "rows": ordered}
        write_json(kept, found)
        write_atomically(plan.report / "accuracy.md", table(found) + matrix(found))
    save_figure(plot(found), plan.report / "accuracy.png")
    return found


def _train(plan: Plan, lever: Lever, seed: int) -> Run:
    given: dict[str, Any] = {} if lever.trained_on == "hands" else {"data": plan.photos}
    if lever.trained_on == "photos" and plan.groups is not None:
        given["groups"] = plan.groups
    runs = plan.report / "runs" / lever.slug / f"seed-{seed}"
    return fit_once(
        lever.recipe().replace(**plan.changes, **given, seed=seed, runs=runs), quiet=True
    )


def _row(plan: Plan, lever: Lever, runs: Sequence[Run]) -> dict[str, Any]:
    folders = {}
    for name, folder in plan.folders().items():
        answers = [judge(run.directory, data=folder) for run in runs]
        folders[name] = [answer.outcome.accuracy for answer in answers]
        if lever is LEVERS[0] or lever.trained_on == "hands":
            _draw(plan, f"{lever.slug}-{name.replace(', ', '-').replace(' ', '-')}", answers)
    return {
        "name": lever.name,
        "trained_on": lever.trained_on,
        "photos": int(runs[0].results["train_images"]),
        "minutes": [sum(epoch["seconds"] for epoch in run.history) / 60 for run in runs],
        "accuracy": folders,
    }


def _draw(plan: Plan, name: str, answers: Sequence[Judged]) -> None:
    """The confusion matrix of all seeds, and the worst mistakes of the mean probabilities."""
    first, classes = answers[0], answers[0].data.classes
    matrices = [
        confusion_matrix(each.outcome.labels, each.outcome.probabilities) for each in answers
    ]
    figure = confusion(np.sum(matrices, axis=0), classes)
    save_figure(figure, plan.report / f"{name}-confusion.png")
    mean = np.mean([each.outcome.probabilities for each in answers], axis=0)
    outcome = Outcome(first.outcome.labels, mean, float("nan"))
    shown = dataclasses.replace(first.data, test=first.split)
    save_figure(mistakes(shown, outcome), plan.report / f"{name}-mistakes.png")


def _line(row: Mapping[str, Any]) -> str:
    shares = ", ".join(f"{name} {spread(values)}" for name, values in row["accuracy"].items())
    return f"{row['name']}: {shares}"


def table(found: Mapping[str, Any]) -> str:
    """Markdown: a line for each lever, a column for each folder."""
    names = list(found["rows"][0]["accuracy"])
    lines = [
        "| | images | " + " | ".join(names) + " | minutes |",
        "|---|---|" + "---|" * (len(names) + 1),
    ]
    for row in found["rows"]:
        shares = " | ".join(spread(row["accuracy"][name]) for name in names)
        minutes = statistics.median(row["minutes"])
        lines.append(f"| {row['name']} | {row['photos']:,} | {shares} | {minutes:.1f} |")
    return "\n".join(lines) + "\n"


def matrix(found: Mapping[str, Any]) -> str:
    """Markdown: trained on one source, tested on each."""
    rows = {row["name"]: row["accuracy"] for row in found["rows"]}
    names = list(found["rows"][0]["accuracy"])
    lines = [
        "",
        f"| trained on \\ tested on | {' | '.join(names)} |",
        "|---|" + "---|" * len(names),
    ]
    for source, name in SOURCES.items():
        if name in rows:
            shares = " | ".join(spread(rows[name][folder]) for folder in names)
            lines.append(f"| {source} | {shares} |")
    return "\n".join(lines) + "\n"


def plot(found: Mapping[str, Any]) -> Figure:
    """Each training's accuracy, a line for each lever."""
    rows = found["rows"]
    names = list(rows[0]["accuracy"])
    figure = new_figure(3 + 2.2 * len(names), 1.2 + 0.36 * len(rows))
    for axes, name in zip(
        figure.subplots(1, len(names), sharey=True, squeeze=False)[0], names, strict=True
    ):
        for place, row in enumerate(rows):
            shares = row["accuracy"][name]
            axes.plot(shares, [place] * len(shares), "o", color="#2a6f97", alpha=0.6, markersize=4)
            axes.plot([statistics.median(shares)], [place], "|", color="#d1495b", markersize=14)
        axes.set_yticks(range(len(rows)), [row["name"] for row in rows])
        axes.set_title(name, fontsize=10)
        axes.xaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
        axes.grid(alpha=0.3)
    axes.invert_yaxis()
    return figure


def spread(shares: Sequence[float]) -> str:
    """Median, and least to greatest where there are several."""
    middle = f"**{statistics.median(shares):.1%}**"
    if len(shares) == 1:
        return middle
    return f"{middle} ({min(shares):.1%} to {max(shares):.1%}, {len(shares)})"
