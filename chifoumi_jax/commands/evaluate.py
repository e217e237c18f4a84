"""`chifoumi evaluate`: test runs on labelled photos, and compare them."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from chifoumi_jax.commands.options import JsonOutput, Run, require_at_least
from chifoumi_jax.commands.output import print_table, show_warning
from chifoumi_jax.errors import RecipeError
from chifoumi_jax.text import printable

if TYPE_CHECKING:
    from chifoumi_jax.reports import Report


def evaluate(
    run: Run,
    others: Annotated[
        tyro.conf.Positional[tuple[Path, ...]],
        tyro.conf.arg(metavar="[RUN ...]", help_behavior_hint=""),
    ] = (),
    data: Path | None = None,
    test_list: Path | None = None,
    best: bool = False,
    batch_size: int = 25,
    out: Path | None = None,
    report: bool = True,
    images: bool = True,
    json_output: JsonOutput = False,
) -> int:
    """Test a run's model on labelled photos: its own test photos, or those of another folder.

    Several runs are tested on the same photos, and each pair of runs is compared. The command
    writes a web page, report.html, and all numbers, report.json, into a folder. It reports files
    that cannot be read and leaves them out.

    Args:
        run: The run's folder, a file of export --to safetensors, or small, the packaged model.
        others: More runs, which must know the photos' classes too.
        data: Folder {test,…}/<class>/<photos>, of which test (or else valid) is used, or folder
            <class>/<photos>.
        test_list: Text file of paths, one a line, that selects photos of --data.
        best: Use the best checkpoint instead of the last.
        batch_size: Photos in a batch; the labels do not depend on it.
        out: Folder for the report; by default evaluation, or evaluation-2, …, in the first run's
            folder, or in the current folder if the model has no run's folder.
        report: Write the report.
        images: Show photos in the report; --no-images shows only their names.
        json_output: Print JSON.
    """
    from chifoumi_jax import reports

    require_at_least(1, batch_size, "--batch-size")
    if report:
        reports.require_free(run, out, data)
    elif out is not None:
        raise RecipeError("--out is the report's folder: give either --out or --no-report")
    result = reports.evaluate(
        [run, *others], data=data, test_list=test_list, best=best, batch_size=batch_size
    )
    if not json_output:
        _print_report(result)
    page = result.write(out, images=images) / reports.PAGE if report else None
    if json_output:
        numbers: dict[str, Any] = result.comparison() if others else result.runs[0]
        print(json.dumps(numbers | {"report": None if page is None else str(page)}, indent=2))
    elif page is not None:
        print(f"Report: {page}")
    return 0


def _print_report(report: Report) -> None:
    for line in report.runs[0]["problems"]:
        print(line, file=sys.stderr)
    for numbers in report.runs:
        _print_numbers(numbers, named=len(report.runs) > 1)
    for pair in report.comparisons:
        print(
            f"Photos that only {printable(pair['first'])} got right: {pair['only_first']}; only "
            f"{printable(pair['second'])}: {pair['only_second']}. "
            f"McNemar's exact test: p = {pair['p']:.2g}."
        )


def _print_numbers(numbers: Mapping[str, Any], *, named: bool) -> None:
    if named:
        print(printable(numbers["run"]))
    print_table(
        ["true \\ predicted", *numbers["classes"], "recall"],
        [
            [name, *map(str, row), f"{row[index] / sum(row):.1%}" if sum(row) else "–"]
            for index, (name, row) in enumerate(
                zip(numbers["classes"], numbers["confusion"], strict=True)
            )
        ],
    )
    low, high = numbers["interval"]
    loss = "–" if numbers["loss"] is None else f"{numbers['loss']:.4f}"
    print(
        f"Accuracy {numbers['accuracy']:.2%} ({numbers['correct']} of {numbers['images']}; "
        f"95 % interval {low:.1%} to {high:.1%}), loss {loss}."
    )
    if numbers["learnt"]:
        show_warning(
            f"{printable(numbers['run'])} was trained or validated on {numbers['learnt']} of these "
            f"{numbers['images']} photos: its accuracy on new photos is lower"
        )
    unsure = numbers["unsure"]
    if unsure["photos"]:
        share = unsure["rest_accuracy"]
        rest = f"; {share:.2%} of the others are correct" if unsure["rest"] else ""
        print(f"Unsure: {unsure['photos']} ({unsure['share']:.1%}){rest}.")
