"""`chifoumi predict`: classify photos, and explain the answers with heat maps."""

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

    A file that is not a readable picture, an empty folder or a pattern that matches nothing is
    reported; the other files are still classified. The exit code is then 1, or 2 if none of
    the paths names a file.

    Args:
        run: The run's folder, a file of export --to safetensors, or small, the packaged model.
        paths: Photos, folders of photos, patterns in quotes ('photos/**/*.jpg'), or - for standard
            input: a photo, or a list of paths, one a line.
        best: Use the best checkpoint instead of the last.
        batch_size: Photos in a batch; the labels do not depend on it.
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
        raise RecipeError("no photos given: name photos after the run's folder")
    if json_output and output_format != "table":
        raise RecipeError(f"give --json or --format {output_format}, not both")
    # A process can be started without standard input.
    inputs = expand(paths, sys.stdin.buffer if sys.stdin else io.BytesIO())
    if all(item.problem for item in inputs):
        for item in inputs:
            print(f"error: {item.problem}", file=sys.stderr)
        if json_output:
            refused = [{"file": item.name, "error": item.problem} for item in inputs]
            print(json.dumps(refused, indent=2))
        return USAGE_ERROR
    classifier = load(run, best=best)
    write_heat_map = None
    if explain is not None:
        require_feature_map(classifier.recipe)
        write_heat_map = explain_in(explain, inputs)
    errors: list[str] = []
    all_answers = _print_errors(
        answers(classifier, inputs, batch_size=batch_size, explain=write_heat_map), errors
    )
    if json_output:
        print(json.dumps(list(all_answers), indent=2))
    elif output_format == "table":
        _print_answers(list(all_answers), classifier.classes, explained=explain is not None)
    else:
        lines = (
            json_lines(all_answers)
            if output_format == "jsonl"
            else csv_lines(all_answers, classifier.classes, explained=explain is not None)
        )
        for line in lines:
            print(line, flush=True)
    return int(bool(errors))


def _print_errors(answers: Iterable[Answer], errors: list[str]) -> Iterator[Answer]:
    """Pass the answers through; print each error, and append it to `errors`."""
    for answer in answers:
        if "error" in answer:
            errors.append(answer["error"])
            print(f"error: {answer['error']}", file=sys.stderr)
        yield answer


def _print_answers(answers: Sequence[Answer], classes: Sequence[str], explained: bool) -> None:
    readable = [answer for answer in answers if "error" not in answer]
    if not readable:
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
            for answer in readable
        ],
    )
