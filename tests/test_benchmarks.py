"""The benchmarks run on almost nothing; the tests do not check what they measure."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.measure import BaselineError, measure_in_turn
from benchmarks.report import table
from tests.commands import environment

# Number of results for each value of `--only`; one dictionary runs in one process. Predictions run
# the same code as steps, and the CNN's whole trainings the same as the MLP's. On the newest JAX the
# training steps are enough; there a second interpreter has the baselines.
BASELINES_PYTHON = os.environ.get("CHIFOUMI_BASELINES_PYTHON")
STEPS = {"step": 1}
TRAININGS = {"mlp": 2, "precision": 2}
GROUPS = (
    [STEPS]
    if BASELINES_PYTHON
    else [TRAININGS, {"feeding": 1, "decode": 1, "scaling": 2, "start": 1}]
)


@pytest.fixture(scope="module")
def reports(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    directories = [tmp_path_factory.mktemp("report") for _ in GROUPS]
    processes = []
    # In parallel, because the measured times do not matter.
    for cases, directory in zip(GROUPS, directories, strict=True):
        command = [sys.executable, "-m", "benchmarks", "--tiny", "--report", str(directory)]
        command += ["--baselines-python", BASELINES_PYTHON or sys.executable, "--only", *cases]
        process = subprocess.Popen(
            [*command, "--data", str(photos)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        processes.append(process)
    for process, directory in zip(processes, directories, strict=True):
        stdout, stderr = process.communicate()
        assert process.returncode == 0, stderr
        assert stdout == (directory / "table.md").read_text() + "\n"
    return directories


def test_measures_every_baseline(reports: list[Path]) -> None:
    found = [json.loads((report / "report.json").read_text()) for report in reports]
    assert all(report["machine"]["cores"] >= 1 for report in found)
    cases = [case for report in found for case in report["cases"]]
    baselines = {case["name"]: [row["name"] for row in case["rows"]] for case in cases}
    assert len(baselines) == len(cases) == sum(sum(group.values()) for group in GROUPS)
    for case in cases:
        for row in case["rows"]:
            assert row["error"] is None, row
            assert row["values"], row
            assert min(row["values"]) > 0
            assert row["peak_bytes"] > 1e7
    if STEPS in GROUPS:
        assert baselines["training step, 24 px, batch 4"] == [
            "chifoumi-jax",
            "Keras on TensorFlow",
            "PyTorch, channels last",
            "PyTorch, NCHW",
            "Keras on JAX",
            "plain JAX",
        ]
    else:
        assert "PyTorch" in baselines["whole training of the MLP, 2 epochs"]


def test_plots_every_case(reports: list[Path]) -> None:
    for report, cases in zip(reports, GROUPS, strict=True):
        pictures = sorted(report.glob("*.png"))
        assert len(pictures) == sum(cases.values())
        for picture in pictures:
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
