"""Files that version 0.1.0 wrote still load, answer as they did, and can be continued.

`saved-0.1.0.zip` holds a run of the study's CNN at 22 × 22 pixels (two epochs of 15 photos), its
export to safetensors, the photos, and what version 0.1.0 answered. It was made before the modules
were regrouped.
"""

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chifoumi_jax import evaluate, load, resume
from chifoumi_jax.training import run

ARCHIVE = Path(__file__).with_name("saved-0.1.0.zip")
# Probabilities of the same weights on another processor: sums of float32 in another order.
ROUNDING = 1e-5
# Losses after five more steps of Adam, which enlarges rounding; measured 1e-7 on one machine.
TRAINED = 1e-3


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    with zipfile.ZipFile(ARCHIVE) as archive:
        archive.extractall(tmp_path)
    # The folders were elsewhere.
    config = tmp_path / "run" / "config.json"
    text = config.read_text().replace("PHOTOS", str(tmp_path / "photos"))
    config.write_text(text.replace("RUNS", str(tmp_path)))
    return tmp_path


def expected(saved: Path, name: str) -> Any:
    return json.loads((saved / name).read_text())


@pytest.mark.parametrize("name", ["run", "model.safetensors"])
def test_a_saved_model_answers_as_it_did(saved: Path, name: str) -> None:
    answers = expected(saved, "answers.json")
    found = load(saved / name).predict(list(np.load(saved / "pictures.npy")))
    assert found.labels == answers["labels"]
    np.testing.assert_allclose(found.probabilities, answers["probabilities"], atol=ROUNDING)


def test_a_saved_run_is_continued(saved: Path) -> None:
    resumed = expected(saved, "resumed.json")
    again = resume(saved / "run", epochs=3, quiet=True)
    assert [row["step"] for row in again.history] == [3, 6, 9]
    for ours, before in zip(again.history, resumed["history"], strict=True):
        assert ours["loss"] == pytest.approx(before["loss"], rel=TRAINED)
    assert again.results["test_loss"] == pytest.approx(resumed["results"]["test_loss"], rel=TRAINED)


def test_a_saved_run_is_read_and_evaluated(saved: Path) -> None:
    recipe, config = run.read_config(saved / "run")
    assert (recipe.name, recipe.image_size, recipe.epochs) == ("study-cnn", 22, 2)
    assert config["classes"] == ["paper", "rock", "scissors"]
    report = evaluate([saved / "run", saved / "model.safetensors"], data=saved / "photos")
    before = json.loads((saved / "run" / "results.json").read_text())
    assert [one["correct"] for one in report.runs] == [before["test_correct"]] * 2
