"""The model that comes with the package."""

from pathlib import Path

import numpy as np
import pytest

from chifoumi_jax import builtin, evaluate, load
from chifoumi_jax.hands import GESTURES, NOTHING, render, write_hands
from chifoumi_jax.training.run import RunError
from tests.commands import chifoumi


def test_the_model_is_small_and_has_a_card() -> None:
    path = builtin.builtin_run()
    assert path.stat().st_size <= 3_000_000
    assert "not good at" in path.with_name("CARD.md").read_text()


def test_the_model_recognises_rendered_hands_and_pictures_without_a_hand() -> None:
    classifier = load("small")
    assert set(classifier.classes) == {*GESTURES, NOTHING}
    expected = [name for seed in range(5) for name in (*GESTURES, NOTHING)]
    # Other people, lights and backgrounds than in training.
    pictures = [
        render(name, seed=1000 + index, size=(160, 160), split="test")
        for index, name in enumerate(expected)
    ]
    labels, probabilities = classifier.predict(pictures)
    accuracy = np.mean([label == name for label, name in zip(labels, expected, strict=True)])
    assert accuracy >= 0.9
    assert probabilities.max(axis=1).mean() > classifier.calibration.threshold


def test_a_run_named_small_has_priority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "small").mkdir()
    monkeypatch.chdir(tmp_path)
    assert load("small").classes, "a folder of photos may have any name"
    (tmp_path / "small" / "config.json").write_text("{}")
    with pytest.raises(RunError, match=r"small/config.json was not written by a training"):
        load("small")


def test_the_model_is_evaluated_like_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_hands(tmp_path / "hands", images=9, test_images=6)
    monkeypatch.chdir(tmp_path)
    report = evaluate(["small"], data=tmp_path / "hands")
    assert report.runs[0]["images"] == 6
    assert report.write(images=False) == Path("evaluation")
    with pytest.raises(RunError, match="name a folder with --data"):
        evaluate(["small"])


def test_predict_needs_no_training(tmp_path: Path) -> None:
    from PIL import Image

    Image.fromarray(render("rock", seed=7, size=(160, 160), split="test")).save(tmp_path / "a.png")
    done = chifoumi("predict", "small", tmp_path / "a.png", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "rock" in done.stdout
