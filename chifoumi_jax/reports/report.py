"""Evaluating and comparing runs on the same photos."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chifoumi_jax.prediction.load import load
from chifoumi_jax.reports import output
from chifoumi_jax.reports.evaluated import EvaluatedRun, evaluate_run
from chifoumi_jax.reports.mcnemar import compare
from chifoumi_jax.reports.metrics import run_metrics
from chifoumi_jax.reports.page import render
from chifoumi_jax.text import printable
from chifoumi_jax.training import run
from chifoumi_jax.training.run import RunError

FORMAT_VERSION = 1


@dataclasses.dataclass(frozen=True)
class Report:
    """One or more runs evaluated on the same labelled photos.

    Attributes:
        evaluated: The evaluated runs.
        runs: The metrics of each run, ready for JSON; see `metrics.run_metrics`.
        comparisons: The comparison of each pair of runs; see `mcnemar.compare`.
    """

    evaluated: tuple[EvaluatedRun, ...]
    runs: list[dict[str, Any]]
    comparisons: list[dict[str, Any]]

    def write(self, out: str | Path | None = None, *, images: bool = True) -> Path:
        """Write `report.html` and `report.json`, and return their folder.

        Args:
            out: The folder; by default `evaluation` in the first run's folder, or `evaluation-2`, …
                if that exists.
            images: Whether the page shows photos.

        Raises:
            RunError: If the folder holds a report, lies in the photos' folder, or cannot be written
                to.
        """
        first = self.evaluated[0]
        out = None if out is None else Path(out)
        output.require_free(first.directory, out, first.data.scan.root)
        page = render(self.evaluated, self.runs, self.comparisons, images=images)
        return output.write(first.directory, out, page, self.numbers())

    def comparison(self) -> dict[str, Any]:
        """The metrics of all runs and the comparisons of all pairs."""
        return {"runs": self.runs, "comparisons": self.comparisons}

    def numbers(self) -> dict[str, Any]:
        """The content of `report.json`: all metrics, and each run's answer for each photo."""
        first = self.evaluated[0]
        return {
            "format": FORMAT_VERSION,
            "versions": run.versions(),
            **self.comparison(),
            "photos": [
                {
                    "file": photo.path,
                    "sha256": photo.sha256,
                    "true": first.classes[photo.label],
                    "probabilities": [one.probabilities[i].tolist() for one in self.evaluated],
                }
                for i, photo in enumerate(first.split.photos)
            ],
        }


def evaluate(
    runs: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    data: Path | None = None,
    test_list: Path | None = None,
    best: bool = False,
    batch_size: int = 25,
) -> Report:
    """Evaluate one or more runs on the same labelled photos, and compare them.

    Args:
        runs: The folder of one run, or the folders of several runs.
        data: Folder of labelled photos. If it has splits, `test` is used, or else `valid`;
            otherwise all its photos. None uses the runs' own test photos.
        test_list: Selects photos of `data`.
        best: Use the best checkpoints instead of the last.
        batch_size: Photos in a batch.

    Raises:
        RunError: If a folder is not a run, the runs share fewer than two classes, or their photos
            differ.
        DataError: If there is no photo of the runs' classes.
        CheckpointError: If a run has no intact checkpoint.
    """
    directories = [Path(runs)] if isinstance(runs, str | os.PathLike) else list(map(Path, runs))
    _require_comparable(directories)
    evaluated = tuple(
        evaluate_run(one, data=data, test_list=test_list, best=best, batch_size=batch_size)
        for one in directories
    )
    first = evaluated[0]
    for other in evaluated[1:]:
        if _photo_keys(other) != _photo_keys(first):
            # A run leaves out photos of classes that it does not know.
            shared = _joined(_shared_classes(first.classes, other.classes))
            only = "" if first.classes == other.classes else f" with only photos of {shared}"
            raise RunError(
                f"{first.directory} and {other.directory} were tested on different photos; "
                f"give --data a folder{only}"
            )
    comparisons = compare([str(one) for one in directories], [one.correct for one in evaluated])
    return Report(evaluated, [run_metrics(one) for one in evaluated], comparisons)


def _require_comparable(directories: Sequence[Path]) -> None:
    if not directories:
        raise RunError("no run given: name at least one run's folder")
    all_classes = [_classes(one) for one in directories]
    first = all_classes[0]
    for index, (directory, classes) in enumerate(zip(directories, all_classes, strict=True)):
        if directory.resolve() in [one.resolve() for one in directories[:index]]:
            raise RunError(f"{directory} is named twice: name each run once")
        if classes != first and len(_shared_classes(first, classes)) < 2:
            raise RunError(
                f"{directories[0]} and {directory} cannot be compared, because they share fewer "
                f"than two classes: the first has {_joined(first)}, the second has "
                f"{_joined(classes)}"
            )


def _classes(directory: Path) -> object:
    if run.is_run(directory):
        return run.read_config(directory)[1].get("classes")
    # A model in a file, or the packaged model.
    return list(load(directory).classes)


def _shared_classes(first: object, second: object) -> list[Any]:
    if not isinstance(first, Sequence) or not isinstance(second, Sequence):
        return []
    return [name for name in first if name in second]


def _joined(classes: object) -> str:
    if not isinstance(classes, list):
        return "unknown classes"
    return ", ".join(printable(str(one)) for one in classes)


def _photo_keys(evaluated: EvaluatedRun) -> list[tuple[str, str]]:
    return [(photo.sha256, evaluated.classes[photo.label]) for photo in evaluated.split.photos]
