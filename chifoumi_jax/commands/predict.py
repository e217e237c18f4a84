"""`chifoumi predict`: photos classified, and explained."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from chifoumi_jax.commands.options import USAGE_ERROR, JsonOutput, Run, require_at_least
from chifoumi_jax.commands.output import print_table
from chifoumi_jax.errors import RecipeError

if TYPE_CHECKING:
    from chifoumi_jax.prediction.predict_files import Answer


def predict(
    run: Run,
    paths: Annotated[
        tyro.conf.Positional[tuple[Path, ...]],
        tyro.conf.arg(metavar="PATH [PATH ...]", help_behavior_hint=""),
    ],
    best: bool = False,
    batch_size: int = 25,
    output_format: Annotated[
        Literal["table", "jsonl", "csv"], tyro.conf.arg(name="format")
    ] = "table",
    json_output: JsonOutput = False,
    explain: Path | None = None,
) -> int:
    """Classify photos.

    A file that is no readable picture, an empty folder or a pattern that matches nothing is
    reported and does not stop the others; the exit code is then 1, and 2 if there was nothing to
    classify at all.

    Args:
        run: The run's folder, a file of export --to safetensors, or small, the packaged model.
        paths: Photos, folders of them, patterns in quotes ('photos/**/*.jpg'), or - for standard
            input: a photo, or a list of paths, one a line.
        best: Take the best checkpoint instead of the last.
        batch_size: Photos at a time; the labels do not depend on it.
        output_format: A table, one JSON object a line, or CSV.
        json_output: Print one JSON array.
        explain: Folder for a picture of each photo that shows where the network saw its label
            (Grad-CAM); no file is overwritten.
    """
    from chifoumi_jax.prediction.answer_formats import csv_lines, json_lines
    from chifoumi_jax.prediction.gradcam import require_feature_map
    from chifoumi_jax.prediction.inputs import expand
    from chifoumi_jax.prediction.load import load
    from chifoumi_jax.prediction.predict_files import answers, explain_in

    require_at_least(1, batch_size, "--batch-size")
    if not paths:
        raise RecipeError("no photos given: name some after the run's folder")
    if json_output and output_format != "table":
        raise RecipeError(f"give --json or --format {output_format}, not both")
    # A process may be started without one.
    inputs = expand(paths, sys.stdin.buffer if sys.stdin else io.BytesIO())
    if all(one.problem for one in inputs):
        for one in inputs:
            print(f"error: {one.problem}", file=sys.stderr)
        if json_output:
            refused = [{"file": one.name, "error": one.problem} for one in inputs]
            print(json.dumps(refused, indent=2))
        return USAGE_ERROR
    classifier = load(run, best=best)
    how = None
    if explain is not None:
        require_feature_map(classifier.recipe)
        how = explain_in(explain, inputs)
    errors: list[str] = []
    found = _reported(answers(classifier, inputs, batch_size=batch_size, explain=how), errors)
    if json_output:
        print(json.dumps(list(found), indent=2))
    elif output_format == "table":
        _print_answers(list(found), classifier.classes, explained=explain is not None)
    else:
        lines = (
            json_lines(found)
            if output_format == "jsonl"
            else csv_lines(found, classifier.classes, explained=explain is not None)
        )
        for line in lines:
            print(line, flush=True)
    return int(bool(errors))


def _reported(answers: Iterable[Answer], errors: list[str]) -> Iterator[Answer]:
    for answer in answers:
        if "error" in answer:
            errors.append(answer["error"])
            print(f"error: {answer['error']}", file=sys.stderr)
        yield answer


def _print_answers(answers: Sequence[Answer], classes: Sequence[str], explained: bool) -> None:
    read = [answer for answer in answers if "error" not in answer]
    if not read:
        return
    print_table(
        ["file", "label", "", *classes, *(["heat map"] if explained else [])],
        [
            [
                answer["file"],
                answer["label"],
                "unsure" if answer["unsure"] else "",
                *(f"{p:.1%}" for p in answer["probabilities"].values()),
                *([Path(answer["explanation"]).name] if explained else []),
            ]
            for answer in read
        ],
    )
