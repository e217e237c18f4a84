import io
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from parity import report
from parity.check import Check, Verdict, run_check
from parity.comparison import Comparison, Difference
from parity.faults.planted import Detection, Fault
from parity.systems.study_cnn import PORT
from tests.commands import run_module


def _verdict(*differences: Difference, bound: float = 1e-6) -> Verdict:
    run = lambda _: Comparison(differences)  # noqa: E731
    return run_check(Check(5, "study-cnn", "Keras <3>", "64 px", bound, "measured", run), None)


GOOD = _verdict(Difference("conv2d_1", 1e-8), Difference("dense_1", 2e-7))
BAD = _verdict(Difference("conv2d_1", 1e-8), Difference("dense_1", 0.5, 1.0, 0.1, (3, 4), 2.0, 1.0))
LOST = _verdict(Difference("dense_1", math.inf, reason="the candidate has no such quantity"))
FAULT = Fault("a missing ReLU", 5, PORT)


def test_a_report_passes_only_if_checks_pass_and_faults_are_found() -> None:
    assert report.passed([GOOD], [Detection(FAULT, 5, BAD)])
    assert not report.passed([GOOD, BAD], [])
    assert not report.passed([], [])
    assert not report.passed([GOOD], [Detection(FAULT, None, None)])
    assert not report.passed([GOOD], [Detection(FAULT, 3, BAD)])


@pytest.mark.parametrize("verdict", [BAD, LOST])
def test_the_table_shows_the_first_difference(verdict: Verdict) -> None:
    console = Console(file=io.StringIO(), width=160)
    report.print_table(console, [GOOD, verdict])
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "FAIL" in text
    assert verdict.first is not None and verdict.first.sentence() in text


def test_json_and_html_files(tmp_path: Path) -> None:
    detections = [Detection(FAULT, 5, BAD), Detection(FAULT, None, None)]
    report.write(tmp_path / "new", {"jax": "0.10"}, [GOOD, BAD, LOST], detections)
    data = json.loads((tmp_path / "new" / "report.json").read_text())
    assert (data["passed"], data["caught"], data["planted"]) == (False, 1, 2)
    assert [check["verdict"] for check in data["checks"]] == ["PASS", "FAIL", "FAIL"]
    assert data["checks"][1]["quantities"] == {"conv2d_1": 1e-8, "dense_1": 0.5}
    assert data["checks"][2]["error"] == "inf"
    page = (tmp_path / "new" / "report.html").read_text()
    assert "Not all rungs hold" in page
    assert "Keras &lt;3&gt;" in page and "Keras <3>" not in page
    # Self-contained: a browser loads further files only through one of these.
    assert not any(mark in page for mark in ("<script", "<link", "<img", "url(http", "@import"))
    assert page.count("<svg") == 2


def test_imported_frameworks_print_nothing() -> None:
    command = [sys.executable, "-m", "parity", "--only", "resnet"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "resnet"], "error: no port and no rung is called resnet"),
        (["--only", ""], "error: no port and no rung is called :"),
        (["--photos", "absent"], "error: --photos: there is no folder absent"),
        (["--only", "mlp", "--report", "file/report"], "error: file/report cannot be created"),
    ],
)
def test_a_wrong_argument_prints_one_line(
    arguments: list[str], message: str, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    done = run_module("parity", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(message)
    assert len(done.stderr.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
