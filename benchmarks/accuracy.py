"""Accuracy on photos that a model has never seen, for each ablation and each source of photos.

Trainings are kept under the report's folder, so that a stopped command resumes where it was. Each
model is evaluated on every folder of photos. The folder of training photos has `train` beside
`test`.
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
from chifoumi_jax.compilation_cache import enable_compilation_cache
from chifoumi_jax.data.dataset import Dataset
from chifoumi_jax.files import write_atomically, write_json
from chifoumi_jax.metrics import confusion_matrix
from chifoumi_jax.reports import evaluate_run
from chifoumi_jax.training.evaluation import Outcome
from chifoumi_jax.training.fit import fit_once
from chifoumi_jax.training.pictures import confusion, mistakes, new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HANDS = "rendered hands"
# Variable for a process' share of GPU memory, and its older name; JAX refuses both at once.
_MEMORY_VARIABLES = ("XLA_CLIENT_MEM_FRACTION", "XLA_PYTHON_CLIENT_MEM_FRACTION")
# Rows of the cross-source matrix: what a model was trained on, and the name of that ablation.
SOURCES = {
    "photos": "without rendered hands",
    "rendered hands": "rendered hands alone",
    "both": "all together",
}


@dataclasses.dataclass(frozen=True)
class Plan:
    """The trainings and evaluations to run.

    Attributes:
        report: Folder for the trainings, the tables and the pictures.
        photos: Folder {train,test,valid}/<class>/<photos>.
        hands: Folder of rendered hands to evaluate on.
        others: Further folders to evaluate on, `<class>/<photos>` or with `test`.
        groups: File with the sessions of `photos`.
        seeds: Number of seeds, counted up from 0.
        jobs: Number of simultaneous trainings; each has its own process if there are several.
        rows: Names of the ablations; all if empty.
        changes: Changes of every recipe, for a quick check that everything runs.
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
        """The selected ablations, grouped by the trainings that they share."""
        by_folder: dict[str, list[Ablation]] = {}
        for ablation in ABLATIONS:
            if not self.rows or ablation.name in self.rows:
                by_folder.setdefault(ablation.folder, []).append(ablation)
        return list(by_folder.values())

    def folders(self) -> dict[str, Path]:
        """Folders that every model is evaluated on, by name."""
        splits = [name for name in ("test", "valid") if (self.photos / name).is_dir()]
        own = {f"photos, {name}": self.photos / name for name in splits}
        others = {str(folder): folder for folder in self.others}
        return own | {HANDS: self.hands} | others


def measure(plan: Plan, log: Callable[[str], None]) -> dict[str, Any]:
    """Run the trainings that are missing, evaluate them, and write tables and pictures.

    Args:
        plan: The trainings and evaluations to run.
        log: Called with a line for each finished row.

    Returns:
        The content of `accuracy.json`.
    """
    path = plan.report / "accuracy.json"
    rows = _earlier_rows(plan, path)
    found: dict[str, Any] = {}
    trainings = [(ablations, seed) for ablations in plan.trainings() for seed in range(plan.seeds)]
    with _workers(plan.jobs) as map_in_order:
        evaluated = iter(map_in_order(partial(_train_and_evaluate, plan), trainings))
        for ablations in plan.trainings():
            by_seed = itertools.islice(evaluated, plan.seeds)
            for ablation, seeds in zip(ablations, zip(*by_seed, strict=True), strict=True):
                rows[ablation.name] = _row(plan, ablation, seeds)
                log(_line(rows[ablation.name]))
            # Includes the rows of an earlier call.
            ordered = [rows[each.name] for each in ABLATIONS if each.name in rows]
            found = {"photos": str(plan.photos), "changes": dict(plan.changes), "rows": ordered}
            write_json(path, found)
            write_atomically(plan.report / "accuracy.md", table(found) + matrix(found))
    save_figure(plot(found), plan.report / "accuracy.png")
    return found


def _earlier_rows(plan: Plan, path: Path) -> dict[str, dict[str, Any]]:
    """Rows that an earlier call wrote to this report, by name."""
    if not path.exists():
        return {}
    found = json.loads(path.read_bytes())
    if (found["photos"], found["changes"]) != (str(plan.photos), dict(plan.changes)):
        raise BaselineError(
            f"{plan.report} has results of other photos or settings: give another --report"
        )
    return {row["name"]: row for row in found["rows"]}


class Evaluated(NamedTuple):
    """One training, evaluated for one row.

    Attributes:
        photos: Number of training images.
        minutes: Time of its epochs, in minutes.
        outcomes: Labels and probabilities, by the name of the folder.
        drawn: Photos by the name of the folder, if mistakes are drawn; for the first seed only.
    """

    photos: int
    minutes: float
    outcomes: Mapping[str, Outcome]
    drawn: Mapping[str, Dataset]


@contextlib.contextmanager
def _workers(jobs: int) -> Iterator[Callable[..., Iterable[list[Evaluated]]]]:
    """A `map` over trainings that keeps their order; it runs in this process if `jobs` is 1."""
    if jobs == 1:
        yield map
        return
    # Not a fork, because it would lack JAX' threads.
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, spawn, initializer=_start_worker, initargs=(jobs,)) as pool:
        try:
            yield pool.map
        except BrokenProcessPool as error:
            raise BaselineError(
                "a training process was killed, perhaps because memory ran out; run the same "
                "command with fewer --jobs to resume"
            ) from error
        except BaseException:
            # Killing is safe: waiting trainings have not begun, running ones resume from their last
            # checkpoint, and nothing is written in part. A worker that is terminated while it is
            # already stopping would print many lines.
            for process in multiprocessing.active_children():
                process.kill()
            raise


def _start_worker(jobs: int) -> None:
    # Otherwise the first process takes three quarters of a GPU's memory, and the next finds none.
    if not os.environ.keys() & set(_MEMORY_VARIABLES):
        os.environ[_MEMORY_VARIABLES[0]] = f"{0.75 / jobs:.3f}"
    enable_compilation_cache()
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    """Exit when the parent ends, so that no training runs for hours after its command died."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _train_and_evaluate(plan: Plan, training: tuple[Sequence[Ablation], int]) -> list[Evaluated]:
    """Train, or take the finished training, and evaluate it for each row that shares it."""
    ablations, seed = training
    first = ablations[0]
    data: dict[str, Any] = {} if first.trained_on == "hands" else {"data": plan.photos}
    if first.trained_on == "photos" and plan.groups is not None:
        data["groups"] = plan.groups
    runs = plan.report / "runs" / first.folder / f"seed-{seed}"
    recipe = first.recipe().replace(**plan.changes, **data, seed=seed, runs=runs)
    run = fit_once(recipe, quiet=True)
    minutes = sum(epoch["seconds"] for epoch in run.history) / 60
    count = int(run.results["train_images"])
    found = []
    for ablation in ablations:
        outcomes, drawn = {}, {}
        for name, folder in plan.folders().items():
            evaluated = evaluate_run(run.directory, data=folder, **ablation.load_options)
            outcomes[name] = evaluated.outcome
            if _is_drawn(ablation) and seed == 0:
                drawn[name] = dataclasses.replace(evaluated.data, test=evaluated.split)
        found.append(Evaluated(count, minutes, outcomes, drawn))
    return found


def _is_drawn(ablation: Ablation) -> bool:
    # Compares names, because the ablation is a copy in another process.
    return ablation.name == ABLATIONS[0].name or ablation.trained_on == "hands"


def _row(plan: Plan, ablation: Ablation, seeds: Sequence[Evaluated]) -> dict[str, Any]:
    for name, data in seeds[0].drawn.items():
        outcomes = [each.outcomes[name] for each in seeds]
        _draw(plan, f"{ablation.slug}-{name.replace(', ', '-').replace(' ', '-')}", data, outcomes)
    return {
        "name": ablation.name,
        "trained_on": ablation.trained_on,
        "photos": seeds[0].photos,
        "minutes": [each.minutes for each in seeds],
        "accuracy": {
            name: [each.outcomes[name].accuracy for each in seeds] for name in plan.folders()
        },
    }


def _draw(plan: Plan, name: str, data: Dataset, outcomes: Sequence[Outcome]) -> None:
    """Draw the confusion matrix of all seeds and the worst mistakes of the mean probabilities."""
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
    """Format results as Markdown: a line for each ablation, a column for each folder."""
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
    """Format the cross-source matrix as Markdown: trained on one source, tested on each."""
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
    """Draw the accuracy of each training, with a line for each ablation."""
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
    """Folders that any row was evaluated on; another call may have named further folders."""
    return list(dict.fromkeys(name for row in found["rows"] for name in row["accuracy"]))


def spread(shares: Sequence[float]) -> str:
    """Median, then minimum, maximum and count if there are several; a dash if there is none."""
    if not shares:
        return "–"
    middle = f"**{statistics.median(shares):.1%}**"
    if len(shares) == 1:
        return middle
    return f"{middle} ({min(shares):.1%} to {max(shares):.1%}, {len(shares)})"
