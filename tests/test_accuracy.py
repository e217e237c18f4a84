"""The table of ablations: trainings are kept, and evaluated on photos of several sources."""

import json
import os
import pickle
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from benchmarks.ablations import ABLATIONS, Ablation
from benchmarks.accuracy import SOURCES, Plan, _is_drawn, _workers, matrix, measure, spread, table
from benchmarks.measure import BaselineError
from chifoumi_jax.recipes import cnn, transfer
from chifoumi_jax.reports import EvaluatedRun, evaluate_run
from chifoumi_jax.training.progress import Stopped
from tests.commands import start_code
from tests.conftest import write_photos


def plan(root: Path, jobs: int = 1) -> Plan:
    return Plan(
        report=root / "report",
        photos=root / "photos",
        hands=root / "hands",
        others=[root / "elsewhere"],
        groups=None,
        seeds=2,
        jobs=jobs,
        rows=["the study's network"],
        changes={"epochs": 1, "image_size": 24, "batch_size": 6},
    )


def test_trains_evaluates_draws_and_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place, count in (("photos/train", 4), ("photos/test", 3), ("elsewhere", 2), ("hands", 2)):
        write_photos(tmp_path / place, count, seed=count)
    logged: list[str] = []
    # Two processes train; one process resumes below.
    found = measure(plan(tmp_path, jobs=2), logged.append)
    (row,) = found["rows"]
    assert row["name"] == "the study's network" and row["photos"] == 12
    assert set(row["accuracy"]) == {"photos, test", "rendered hands", str(tmp_path / "elsewhere")}
    for shares in row["accuracy"].values():
        assert len(shares) == 2 and all(0 <= share <= 1 for share in shares)
    assert len(logged) == 1 and len(row["minutes"]) == 2
    report = tmp_path / "report"
    assert json.loads((report / "accuracy.json").read_text()) == found
    assert "the study's network | 12" in (report / "accuracy.md").read_text()
    assert (report / "accuracy.png").stat().st_size > 5_000

    runs = sorted((report / "runs").rglob("config.json"))
    assert len(runs) == 2
    monkeypatch.setattr("chifoumi_jax.training.trainer.Trainer.train", None)
    assert measure(plan(tmp_path), logged.append) == found, "finished trainings are not repeated"
    assert sorted((report / "runs").rglob("config.json")) == runs
    # The rows of an earlier call stay, even if it evaluated fewer folders.
    earlier = found["rows"][0] | {"name": "all together", "accuracy": {"photos, test": [0.5]}}
    (report / "accuracy.json").write_text(json.dumps(found | {"rows": [earlier]}))
    names = [each["name"] for each in measure(plan(tmp_path), logged.append)["rows"]]
    assert names == ["all together", "the study's network"]
    assert "| all together | 12 | **50.0%** | – | – |" in (report / "accuracy.md").read_text()
    other = replace(plan(tmp_path), changes={"epochs": 2})
    with pytest.raises(BaselineError, match="of other photos or settings: give another --report"):
        measure(other, logged.append)


def test_rows_that_differ_only_in_load_options_train_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in ("photos/train", "photos/test", "hands"):
        write_photos(tmp_path / place, 4, seed=len(place))
    averaging = Ablation("averaged", {"average": 0.99, "mirror_test": True}, base=cnn)
    rows = [averaging, replace(averaging, name="last step", load_options={"averaged": False})]
    monkeypatch.setattr("benchmarks.ablations.ABLATIONS", rows)
    monkeypatch.setattr("benchmarks.accuracy.ABLATIONS", rows)
    evaluated = []

    def recorded(*arguments: Any, **options: Any) -> EvaluatedRun:
        evaluated.append(evaluate_run(*arguments, **options))
        return evaluated[-1]

    monkeypatch.setattr("benchmarks.accuracy.evaluate_run", recorded)
    every_row = replace(plan(tmp_path), rows=(), others=[], seeds=1)
    found = measure(every_row, lambda _: None)
    assert [row["name"] for row in found["rows"]] == ["averaged", "last step"]
    (run,) = every_row.report.rglob("config.json")
    assert run.relative_to(every_row.report).parts[:3] == ("runs", "averaged", "seed-0")
    averaged, _, last, _ = (each.probabilities for each in evaluated)
    assert not np.array_equal(averaged, last)


TWO_SLEEPING_WORKERS = """
import signal, time
# A shell's background jobs ignore SIGINT, and so do the processes that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)
from benchmarks.accuracy import _workers
with _workers(2) as map_in_order:
    list(map_in_order(abs, [1]))
    print("begun", flush=True)
    list(map_in_order(time.sleep, [3600, 3600]))
"""


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT])
def test_no_training_outlives_the_command(sent: signal.Signals) -> None:
    command = start_code(TWO_SLEEPING_WORKERS)
    try:
        assert command.stdout is not None and command.stdout.readline() == "begun\n"
        workers = psutil.Process(command.pid).children()
        command.send_signal(sent)
        command.wait(timeout=60)
    finally:
        command.kill()
    assert len(workers) >= 2
    _, alive = psutil.wait_procs(workers, timeout=60)
    for process in alive:
        process.kill()
    command.communicate()
    assert not alive


def test_a_killed_worker_gives_an_error_that_names_jobs() -> None:
    with pytest.raises(BaselineError, match="with fewer --jobs"), _workers(2) as map_in_order:
        list(map_in_order(os._exit, [1]))


def test_pickling_keeps_which_rows_are_drawn_and_which_run_was_stopped() -> None:
    drawn = [
        ablation.name for ablation in ABLATIONS if _is_drawn(pickle.loads(pickle.dumps(ablation)))
    ]
    assert drawn == ["all together", "rendered hands alone"]
    stopped = pickle.loads(pickle.dumps(Stopped(Path("runs/a"))))
    assert str(stopped) == "stopped and saved in runs/a" and stopped.directory == Path("runs/a")


def test_ablations_differ_in_training_or_in_load_options() -> None:
    recipes = [
        (ablation.recipe(), ablation.trained_on, ablation.load_options) for ablation in ABLATIONS
    ]
    assert len({str(each) for each in recipes}) == len(ABLATIONS)
    assert recipes[0] == (transfer, "photos", {})
    assert len({ablation.slug for ablation in ABLATIONS}) == len(ABLATIONS)
    assert set(SOURCES.values()) <= {ablation.name for ablation in ABLATIONS}


def test_tables_show_median_range_and_sources() -> None:
    rows = [
        {"name": name, "photos": 9, "minutes": [2.0, 3.0], "accuracy": {"here": [0.5, 1.0]}}
        for name in ("all together", "rendered hands alone")
    ]
    text = table({"rows": rows})
    assert "| all together | 9 | **75.0%** (50.0% to 100.0%, 2) | 2.5 |" in text
    sources = matrix({"rows": rows}).splitlines()
    assert sources[-2].startswith("| rendered hands |") and sources[-1].startswith("| both |")
    assert spread([0.25]) == "**25.0%**"
