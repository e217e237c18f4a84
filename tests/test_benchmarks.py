"""The benchmarks run on almost nothing; the tests do not check what they measure."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from benchmarks import cases, measure
from benchmarks.__main__ import Options, settings, write
from benchmarks.measure import BaselineError, Case, Measurement, measure_in_turn
from benchmarks.report import table
from tests import benchmarked
from tests.commands import environment

# On the newest JAX another interpreter has the baselines, and one of them is enough.
BASELINES_PYTHON = os.environ.get("CHIFOUMI_BASELINES_PYTHON")
STEP = (
    "chifoumi-jax",
    "Keras on TensorFlow",
    "PyTorch, channels last",
    "PyTorch, NCHW",
    "Keras on JAX",
    "plain JAX",
)
STEP_ON_THE_NEWEST = ("chifoumi-jax", "PyTorch, NCHW", "plain JAX")
# Number of results of each case. Predictions run the same code as steps, and the CNN's whole
# trainings the same as the MLP's.
RESULTS = (
    {"step": 1}
    if BASELINES_PYTHON
    else {"step": 1, "mlp": 2, "precision": 2, "feeding": 1, "scaling": 2, "start": 1}
)


@pytest.fixture(scope="module")
def found(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Case]]:
    """All cases on almost nothing; the report is written after each."""
    options = Options(
        report=tmp_path_factory.mktemp("report"),
        tiny=True,
        data=photos,
        baselines_python=BASELINES_PYTHON or sys.executable,
    )
    sizes = settings(options, Console(stderr=True))

    def of_the_newest(
        name: str, unit: str, baselines: Mapping[str, Measurement], *rest: object
    ) -> Case:
        chosen = {name: baselines[name] for name in STEP_ON_THE_NEWEST}
        return measure_in_turn(name, unit, chosen, *rest)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        for module in (measure, cases):
            patch.setattr(module, "run", benchmarked.run)
        if BASELINES_PYTHON:
            patch.setattr(cases, "measure_in_turn", of_the_newest)
        measured: list[Case] = []
        for name in RESULTS:
            for case in cases.CASES[name](sizes):
                measured.append(case)
                write(options.report, measured)
        yield measured


def test_measures_every_baseline(found: list[Case]) -> None:
    baselines = {case.name: tuple(row.name for row in case.rows) for case in found}
    assert len(baselines) == len(found) == sum(RESULTS.values())
    for case in found:
        for row in case.rows:
            assert row.error is None, row
            assert row.values, row
            assert min(row.values) > 0
            assert row.peak_bytes > 1e7
    expected = STEP_ON_THE_NEWEST if BASELINES_PYTHON else STEP
    assert baselines["training step, 24 px, batch 4"] == expected
    if not BASELINES_PYTHON:
        assert "PyTorch" in baselines["whole training of the MLP, 2 epochs"]


@pytest.mark.skipif(bool(BASELINES_PYTHON), reason="the other interpreter tests the report")
def test_the_command_writes_a_report(photos: Path, tmp_path: Path) -> None:
    report = tmp_path / "report"
    command = [sys.executable, "-m", "benchmarks", "--tiny", "--report", str(report)]
    done = subprocess.run(
        [*command, "--only", "decode", "--data", str(photos)],
        capture_output=True,
        text=True,
        env=environment(),
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == (report / "table.md").read_text() + "\n"
    found = json.loads((report / "report.json").read_text())
    assert found["machine"]["cores"] >= 1
    (case,) = found["cases"]
    assert case["name"] == "decoding JPEGs of 64 x 48"
    assert all(row["error"] is None and min(row["values"]) > 0 for row in case["rows"])
    (picture,) = report.glob("*.png")
    with Image.open(picture) as image:
        assert min(image.size) > 100


def test_the_table_names_a_baseline_that_cannot_run() -> None:
    turns: list[str] = []

    def good() -> tuple[list[float], int, dict[str, str]]:
        turns.append("good")
        return [2.0, 4.0], 10**9, {"jax": "1"}

    def bad() -> tuple[list[float], int, dict[str, str]]:
        turns.append("bad")
        raise BaselineError("No module named 'keras'")

    case = measure_in_turn("a step", "s", {"ours": good, "Keras": bad, "other": good}, 2, print)
    assert turns == ["good", "bad", "good", "good", "good"]
    machine = {"cores": 2, "processor": "P", "memory_bytes": 8e9, "devices": ["cpu"]}
    text = table([case], machine | {"python": "3", "jax": "1"})
    assert "| Keras | not measured: No module named 'keras' | | | |" in text
    assert "| other (jax 1) | **3** | 2 to 4 (4) | 1 GB | 1.00 x |" in text
    with pytest.raises(BaselineError, match="a step: No module"):
        measure_in_turn("a step", "s", {"ours": bad}, 1, print)
