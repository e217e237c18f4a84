"""Answers as lines for other programs: JSON, and CSV that a spreadsheet may open."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence

from chifoumi_jax.prediction.predict_files import Answer
from chifoumi_jax.text import printable

# A spreadsheet takes a cell that begins so for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def json_lines(answers: Iterable[Answer]) -> Iterator[str]:
    """One JSON object a line; of names that are no UTF-8 every byte can be had back."""
    return (json.dumps(answer) for answer in answers)


def csv_lines(
    answers: Iterable[Answer], classes: Sequence[str], *, explained: bool
) -> Iterator[str]:
    """A header, and one record a line: control characters are escaped.

    The columns are file, label, probability, unsure, p_<class> of each class, explanation if
    `explained`, and error. A cell that a spreadsheet would compute begins with a quote.
    """
    fields = ["file", "label", "probability", "unsure"]
    last = ["explanation"] if explained else []
    last.append("error")
    yield _record([*fields, *(f"p_{name}" for name in classes), *last])
    for answer in answers:
        probabilities = answer.get("probabilities", {})
        yield _record(
            [
                *(answer.get(field, "") for field in fields),
                *(probabilities.get(name, "") for name in classes),
                *(answer.get(field, "") for field in last),
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
    return ("'" if value.startswith(_FORMULA) else "") + printable(value)
