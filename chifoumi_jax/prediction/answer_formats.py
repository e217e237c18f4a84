"""Answers as JSON lines, and as CSV that is safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence

from chifoumi_jax.prediction.predict_files import Answer
from chifoumi_jax.text import printable

# A spreadsheet runs a cell that starts with one of these as a formula.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def json_lines(answers: Iterable[Answer]) -> Iterator[str]:
    """One JSON object a line; `os.fsencode` recovers file names that are not valid UTF-8."""
    return (json.dumps(answer) for answer in answers)


def csv_lines(
    answers: Iterable[Answer], classes: Sequence[str], *, explained: bool
) -> Iterator[str]:
    """A header, then one record a line; control characters are escaped.

    The columns are file, label, probability, unsure, p_<class> for each class, explanation if
    `explained`, and error. A cell that a spreadsheet would run as a formula gets a leading quote.
    """
    fields = ["file", "label", "probability", "unsure"]
    last_fields = ["explanation"] if explained else []
    last_fields.append("error")
    yield _record([*fields, *(f"p_{name}" for name in classes), *last_fields])
    for answer in answers:
        probabilities = answer.get("probabilities", {})
        yield _record(
            [
                *(answer.get(field, "") for field in fields),
                *(probabilities.get(name, "") for name in classes),
                *(answer.get(field, "") for field in last_fields),
            ]
        )


def _record(cells: Iterable[object]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow([_cell(cell) for cell in cells])
    return line.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, str):
        return value
    return ("'" if value.startswith(_FORMULA_STARTS) else "") + printable(value)
