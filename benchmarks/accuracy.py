"""Accuracy on photos that a model has never seen: what each ablation gives, and source by source.

A training is kept under the report's folder, so that a stopped command goes on where it was. It is
judged on each folder of photos; what it is trained on has the folder `train` beside `test`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import multiprocessing
import os
import statistics
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from benchmarks.ablations import ABLATIONS, Ablation
from benchmarks.measure import BaselineError
from chifoumi_jax.compilation_cache import keep_compiled
from chifoumi_jax.data.dataset import Dataset
from chifoumi_jax.files import write_atomically, write_json
from chifoumi_jax.metrics import confusion_matrix
from chifoumi_jax.reports import judge
from chifoumi_jax.training.evaluation import Outcome
from chifoumi_jax.training.fit import fit_once
from chifoumi_jax.training.pictures import confusion, mistakes, new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HANDS = "rendered hands"
# The share of a GPU's memory that a process takes, and its older name: JAX refuses both at once.
_MEMORY = ("XLA_CLIENT_MEM_FRACTION", "XLA_PYTHON_CLIENT_MEM_FRACTION")
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
        hands: Folder of rendered hands to judge by.
        others: Further folders to judge by, `<class>/<photos>` or with `test`.
        groups: The sessions of `photos`.
        seeds: How many, counted up from 0.
        jobs: How many trainings run at once, each in a process of its own if there are several.
        rows: Names of the ablations; all by default.
        changes: Of every recipe, to see that everything runs.
    """

    report: Path
    photos: Path
    hands: Path
    others: Sequence[Path]
    groups: Path | None
    seeds: int
    jobs: int
    rows: Sequence[str]
    changes: Mapping[str, Any]

    def trainings(self) -> list[list[Ablation]]:
        """The rows that were asked for, those together that ask the same networks."""
        by_folder: dict[str, list[Ablation]] = {}
        for ablation in ABLATIONS:
            if not self.rows or ablation.name in self.rows:
                by_folder.setdefault(ablation.folder, []).append(ablation)
        return list(by_folder.values())

    def folders(self) -> dict[str, Path]:
        """What a model is judged by."""
        splits = [name for name in ("test", "valid") if (self.photos / name).is_dir()]
        own = {f"photos, {name}": self.photos / name for name in splits}
        others = {str(folder): folder for folder in self.others}
        return own | {HANDS: self.hands} | others


def measure(plan: Plan, say: Callable[[str], None]) -> dict[str, Any]:
    """Train what is not trained yet, judge it, and write tables and pictures.

    Args:
        plan: What to train and to judge.
        say: Gets a line for each row.

    Returns:
        What `accuracy.json` holds.
    """
    kept = plan.report / "accuracy.json"
    rows = _earlier_rows(plan, kept)
    found: dict[str, Any] = {}
    trainings = [(ablations, seed) for ablations in plan.trainings() for seed in range(plan.seeds)]
    with _workers(plan.jobs) as map_in_order:
        answers = iter(map_in_order(partial(_answers, plan), trainings))
        for ablations in plan.trainings():
            by_seed = itertools.islice(answers, plan.seeds)
            for ablation, of_ablation in zip(ablations, zip(*by_seed, strict=True), strict=True):
                rows[ablation.name] = _row(plan, ablation, of_ablation)
                say(_line(rows[ablation.name]))
            # The rows of an earlier call stay.
            ordered = [rows[each.name] for each in ABLATIONS if each.name in rows]
            found = {"photos": str(plan.photos), "changes": dict(plan.changes), "rows": ordered}
            write_json(kept, found)
            write_atomically(plan.report / "accuracy.md", table(found) + matrix(found))
    save_figure(plot(found), plan.report / "accuracy.png")
    return found


def _earlier_rows(plan: Plan, kept: Path) -> dict[str, dict[str, Any]]:
    """The rows that an earlier call left in this report, by their names."""
    if not kept.exists():
        return {}
    found = json.loads(kept.read_bytes())
    if (found["photos"], found["changes"]) != (str(plan.photos), dict(plan.changes)):
        raise BaselineError(f"{plan.report} is of other photos or settings: give another --report")
    return {row["name"]: row for row in found["rows"]}


class Answers(NamedTuple):
    """What became of one training, for one row.

    Attributes:
        photos: How many images it was trained on.
        minutes: Of its epochs.
        outcomes: By the names of the folders that it was judged by.
        shown: The photos of these folders, of the first seed, if their mistakes are drawn.
    """

    photos: int
    minutes: float
    outcomes: Mapping[str, Outcome]
    shown: Mapping[str, Dataset]


@contextlib.contextmanager
def _workers(jobs: int) -> Iterator[Callable[..., Iterable[list[Answers]]]]:
    """What maps a function over trainings, in order: in this process if `jobs` is 1."""
    if jobs == 1:
        yield map
        return
    # A fork would lack JAX' threads.
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, spawn, initializer=_begin_worker, initargs=(jobs,)) as pool:
        try:
            yield pool.map
        except BrokenProcessPool as error:
            raise BaselineError(
                "a training's process was killed, as for lack of memory; the same command goes on, "
                "with fewer --jobs"
            ) from error
        except BaseException:
            # What waits is not begun, and what runs is gone on with from its last checkpoint: none
            # is written in part. Asked to end, a worker that is just stopping says so at length.
            for process in multiprocessing.active_children():
                process.kill()
            raise


def _begin_worker(jobs: int) -> None:
    # Else the first process takes three quarters of a GPU's memory, and the next finds none.
    if not os.environ.keys() & set(_MEMORY):
        os.environ[_MEMORY[0]] = f"{0.75 / jobs:.3f}"
    keep_compiled()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Let no training go on for hours after the command that waits for it was killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _answers(plan: Plan, training: tuple[Sequence[Ablation], int]) -> list[Answers]:
    """Train, or take what is trained, and judge it for each row that asks it."""
    ablations, seed = training
    first = ablations[0]
    given: dict[str, Any] = {} if first.trained_on == "hands" else {"data": plan.photos}
    if first.trained_on == "photos" and plan.groups is not None:
        given["groups"] = plan.groups
    runs = plan.report / "runs" / first.folder / f"seed-{seed}"
    recipe = first.recipe().replace(**plan.changes, **given, seed=seed, runs=runs)
    run = fit_once(recipe, quiet=True)
    minutes = sum(epoch["seconds"] for epoch in run.history) / 60
    count = int(run.results["train_images"])
    found = []
    for ablation in ablations:
        outcomes, shown = {}, {}
        for name, folder in plan.folders().items():
            judged = judge(run.directory, data=folder, **ablation.reading)
            outcomes[name] = judged.outcome
            if _drawn(ablation) and seed == 0:
                shown[name] = dataclasses.replace(judged.data, test=judged.split)
        found.append(Answers(count, minutes, outcomes, shown))
    return found


def _drawn(ablation: Ablation) -> bool:
    # By its name: in another process it is a copy.
    return ablation.name == ABLATIONS[0].name or ablation.trained_on == "hands"


def _row(plan: Plan, ablation: Ablation, answers: Sequence[Answers]) -> dict[str, Any]:
    for name, data in answers[0].shown.items():
        outcomes = [each.outcomes[name] for each in answers]
        _draw(plan, f"{ablation.slug}-{name.replace(', ', '-').replace(' ', '-')}", data, outcomes)
    return {
        "name": ablation.name,
        "trained_on": ablation.trained_on,
        "photos": answers[0].photos,
        "minutes": [each.minutes for each in answers],
        "accuracy": {
            name: [each.outcomes[name].accuracy for each in answers] for name in plan.folders()
        },
    }


def _draw(plan: Plan, name: str, data: Dataset, outcomes: Sequence[Outcome]) -> None:
    """The confusion matrix of all seeds, and the worst mistakes of the mean probabilities."""
    matrices = [confusion_matrix(each.labels, each.probabilities) for each in outcomes]
    figure = confusion(np.sum(matrices, axis=0), data.classes)
    save_figure(figure, plan.report / f"{name}-confusion.png")
    mean = np.mean([each.probabilities for each in outcomes], axis=0)
    outcome = Outcome(outcomes[0].labels, mean, float("nan"))
    save_figure(mistakes(data, outcome), plan.report / f"{name}-mistakes.png")


def _line(row: Mapping[str, Any]) -> str:
    shares = ", ".join(f"{name} {spread(values)}" for name, values in row["accuracy"].items())
    return f"{row['name']}: {shares}"


def table(found: Mapping[str, Any]) -> str:
    """Markdown: a line for each ablation, a column for each folder."""
    names = _folders(found)
    lines = [
        "| | images | " + " | ".join(names) + " | minutes |",
        "|---|---|" + "---|" * (len(names) + 1),
    ]
    for row in found["rows"]:
        shares = " | ".join(spread(row["accuracy"].get(name, ())) for name in names)
        minutes = statistics.median(row["minutes"])
        lines.append(f"| {row['name']} | {row['photos']:,} | {shares} | {minutes:.1f} |")
    return "\n".join(lines) + "\n"


def matrix(found: Mapping[str, Any]) -> str:
    """Markdown: trained on one source, tested on each."""
    rows = {row["name"]: row["accuracy"] for row in found["rows"]}
    names = _folders(found)
    lines = [
        "",
        f"| trained on \\ tested on | {' | '.join(names)} |",
        "|---|" + "---|" * len(names),
    ]
    for source, name in SOURCES.items():
        if name in rows:
            shares = " | ".join(spread(rows[name].get(folder, ())) for folder in names)
            lines.append(f"| {source} | {shares} |")
    return "\n".join(lines) + "\n"


def plot(found: Mapping[str, Any]) -> Figure:
    """Each training's accuracy, a line for each ablation."""
    rows = found["rows"]
    names = _folders(found)
    figure = new_figure(3 + 2.2 * len(names), 1.2 + 0.36 * len(rows))
    for axes, name in zip(
        figure.subplots(1, len(names), sharey=True, squeeze=False)[0], names, strict=True
    ):
        for place, row in enumerate(rows):
            if not (shares := row["accuracy"].get(name)):
                continue
            axes.plot(shares, [place] * len(shares), "o", color="#2a6f97", alpha=0.6, markersize=4)
            axes.plot([statistics.median(shares)], [place], "|", color="#d1495b", markersize=14)
        axes.set_yticks(range(len(rows)), [row["name"] for row in rows])
        axes.set_title(name, fontsize=10)
        axes.xaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
        axes.grid(alpha=0.3)
    axes.invert_yaxis()
    return figure


def _folders(found: Mapping[str, Any]) -> list[str]:
    """What any row was judged by; another call may have named further folders."""
    return list(dict.fromkeys(name for row in found["rows"] for name in row["accuracy"]))


def spread(shares: Sequence[float]) -> str:
    """Median, and least to greatest where there are several; a dash if there is none."""
    if not shares:
        return "–"
    middle = f"**{statistics.median(shares):.1%}**"
    if len(shares) == 1:
        return middle
    return f"{middle} ({min(shares):.1%} to {max(shares):.1%}, {len(shares)})"
