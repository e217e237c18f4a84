"""Runs judged and compared on the same photos."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chifoumi_jax.prediction.load import load
from chifoumi_jax.reports import output
from chifoumi_jax.reports.evaluated import Judged, judge
from chifoumi_jax.reports.mcnemar import compare
from chifoumi_jax.reports.metrics import measures
from chifoumi_jax.reports.page import render
from chifoumi_jax.text import printable
from chifoumi_jax.training import run
from chifoumi_jax.training.run import RunError

FORMAT_VERSION = 1


@dataclasses.dataclass(frozen=True)
class Report:
    """What one or more runs make of the same labelled photos.

    Attributes:
        judged: Their answers.
        runs: The numbers of each, ready for JSON; see `measures.measures`.
        comparisons: Those of each pair; see `mcnemar.compare`.
    """

    judged: tuple[Judged, ...]
    runs: list[dict[str, Any]]
    comparisons: list[dict[str, Any]]

    def write(self, out: Path | None = None, *, images: bool = True) -> Path:
        """Write `report.html` and `report.json`, and return their folder.

        Args:
            out: The folder; by default `evaluation` in the first run's, numbered if it is there.
            images: Whether photos stand in the page.

        Raises:
            RunError: If there is a report already, or the folder cannot be written to.
        """
        first = self.judged[0]
        output.require_free(first.directory, out, first.data.scan.root)
        page = render(self.judged, self.runs, self.comparisons, images=images)
        return output.write(first.directory, out, page, self.numbers())

    def comparison(self) -> dict[str, Any]:
        """The numbers of all runs and pairs."""
        return {"runs": self.runs, "comparisons": self.comparisons}

    def numbers(self) -> dict[str, Any]:
        """What `report.json` holds: all numbers, and each run's answer for each photo."""
        first = self.judged[0]
        return {
            "format": FORMAT_VERSION,
            "versions": run.versions(),
            **self.comparison(),
            "photos": [
                {
                    "file": photo.path,
                    "sha256": photo.sha256,
                    "true": first.classes[photo.label],
                    "probabilities": [one.probabilities[place].tolist() for one in self.judged],
                }
                for place, photo in enumerate(first.split.photos)
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
    """Judge one or more runs on the same labelled photos, and compare them.

    Args:
        runs: Their folders.
        data: Labelled photos: `test` of a folder that has it, else all; None for the runs' own
            test photos.
        test_list: Selects photos of `data`.
        best: Take the best checkpoints instead of the last.
        batch_size: Photos at a time.

    Raises:
        RunError: If a folder is no run, the runs share fewer than two classes, or their photos
            differ.
        DataError: If there is no photo of the runs' classes.
        CheckpointError: If of a run no checkpoint is whole.
    """
    directories = [Path(runs)] if isinstance(runs, str | os.PathLike) else list(map(Path, runs))
    _require_comparable(directories)
    judged = tuple(
        judge(one, data=data, test_list=test_list, best=best, batch_size=batch_size)
        for one in directories
    )
    for other in judged[1:]:
        if _photos(other) != _photos(judged[0]):
            shared = _shared(judged[0].classes, other.classes)
            # A run leaves photos of classes that it does not know out.
            of = (
                ""
                if judged[0].classes == other.classes
                else f" with photos of {_list(shared)} alone"
            )
            raise RunError(
                f"{judged[0].directory} and {other.directory} were tested on different photos; "
                f"name a folder{of} with --data"
            )
    comparisons = compare([str(one) for one in directories], [one.right for one in judged])
    return Report(judged, [measures(one) for one in judged], comparisons)


def _require_comparable(directories: Sequence[Path]) -> None:
    if not directories:
        raise RunError("no run given")
    classes = [_classes(one) for one in directories]
    for place, (directory, found) in enumerate(zip(directories, classes, strict=True)):
        if directory.resolve() in [one.resolve() for one in directories[:place]]:
            raise RunError(f"{directory} is named twice")
        if found != classes[0] and len(_shared(classes[0], found)) < 2:
            raise RunError(
                f"{directories[0]} and {directory} cannot be compared: the classes of one are "
                f"{_list(classes[0])}, those of the other {_list(found)}"
            )


def _classes(directory: Path) -> object:
    if run.is_run(directory):
        return run.read_config(directory)[1].get("classes")
    # A model in a file, or the packaged one.
    return list(load(directory).classes)


def _shared(first: object, second: object) -> list[Any]:
    if not isinstance(first, Sequence) or not isinstance(second, Sequence):
        return []
    return [name for name in first if name in second]


def _list(classes: object) -> str:
    if not isinstance(classes, list):
        return "not known"
    return ", ".join(printable(str(one)) for one in classes)


def _photos(judged: Judged) -> list[tuple[str, str]]:
    return [(photo.sha256, judged.classes[photo.label]) for photo in judged.split.photos]
