"""Answers as JSON lines and CSV, for other programs."""

import csv
import io
import json
import os
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from chifoumi_jax.prediction.answer_formats import csv_lines, json_lines

GOOD = {
    "file": "a,b.png",
    "label": "=rock",
    "probability": 0.75,
    "unsure": False,
    "probabilities": {"=rock": 0.75, "paper": 0.25},
}


def test_csv_columns_escapes_and_quotes_cells() -> None:
    answers: list[dict[str, Any]] = [
        GOOD,
        {"file": "@x", "error": "@x: zero bytes (copy it again)"},
        GOOD | {"file": "n\udcff\n.png", "unsure": True, "explanation": "h/n.png"},
    ]
    lines = list(csv_lines(answers, ["=rock", "paper"], explained=True))
    assert list(csv.reader(lines)) == [
        ["file", "label", "probability", "unsure", "p_=rock", "p_paper", "explanation", "error"],
        ["a,b.png", "'=rock", "0.75", "no", "0.75", "0.25", "", ""],
        ["'@x", "", "", "", "", "", "", "'@x: zero bytes (copy it again)"],
        [r"n\udcff\n.png", "'=rock", "0.75", "yes", "0.75", "0.25", "h/n.png", ""],
    ]


@given(st.text(), st.text())
def test_csv_has_no_formula_and_one_record_per_line(file: str, label: str) -> None:
    answer = GOOD | {"file": file, "label": label, "probabilities": {label: 0.75, "b": 0.25}}
    lines = list(csv_lines([answer], [label, "b"], explained=False))
    assert len(lines) == 2 and all(line.isprintable() for line in lines)
    for row in csv.reader(io.StringIO("\n".join(lines))):
        assert len(row) == 7
        assert not [cell for cell in row if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]


@given(st.binary(min_size=1).filter(lambda name: b"\0" not in name))
def test_json_lines_keep_every_byte_of_a_file_name(name: bytes) -> None:
    (line,) = json_lines([GOOD | {"file": os.fsdecode(name)}])
    assert line.isascii() and "\n" not in line
    assert os.fsencode(json.loads(line)["file"]) == name
