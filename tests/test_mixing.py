"""Rendered hands mixed with photos, class weights, validation shares and early stopping."""

import csv
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from chifoumi_jax import fit, load, recipes, resume
from chifoumi_jax.data import dataset
from chifoumi_jax.data.dataset import load_dataset
from chifoumi_jax.errors import RecipeError
from chifoumi_jax.losses import class_weights, cross_entropy, weighted
from chifoumi_jax.recipes import Recipe
from chifoumi_jax.training.fit import fit_once
from tests.conftest import write_photos
from tests.hands import write_small

QUICK: dict[str, Any] = {"image_size": 24, "epochs": 2, "batch_size": 8}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small(tmp_path_factory.mktemp("hands") / "hands", images=9, test_images=3)


@pytest.fixture
def few_hands(monkeypatch: pytest.MonkeyPatch, drawn: Path) -> Path:
    """Replaces the hands in the user's cache by nine rendered hands."""
    monkeypatch.setattr(dataset, "hands_folder", lambda progress=None, wild=0: drawn)
    return drawn


def recipe_for_classes(tmp_path: Path, *classes: str) -> Recipe:
    """A recipe for photos of these classes."""
    random = np.random.default_rng(0)
    for name in classes:
        folder = tmp_path / "photos" / name
        folder.mkdir(parents=True)
        for number in range(8):
            pixels = random.integers(0, 255, (30, 30, 3), np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.png")
    return recipes.cnn.replace(data=tmp_path / "photos", runs=tmp_path / "runs", hands=6, **QUICK)


def test_hands_are_added_to_the_training_photos_only(tmp_path: Path, few_hands: Path) -> None:
    recipe = recipe_for_classes(tmp_path, "paper", "rock", "scissors")
    assert recipe.data is not None
    recipe.runs.mkdir()
    plain = load_dataset(recipe.replace(hands=0), recipe.data, recipe.runs)
    mixed = load_dataset(recipe, recipe.data, recipe.runs)
    assert len(mixed.train) == len(plain.train) + 6
    assert [photo.path for photo in mixed.test.photos] == [p.path for p in plain.test.photos]
    assert mixed.scan.fingerprint == plain.scan.fingerprint
    for photo, row, label in zip(
        mixed.train.photos, mixed.train.rows, mixed.train.labels, strict=True
    ):
        assert photo.label == label
        split = mixed.pixels[row]
        assert split.shape == recipe.input_shape and split.any()
    drawn = mixed.train.labels[len(plain.train) :]
    assert np.bincount(drawn).tolist() == [2, 2, 2]
    names = {photo.path for photo in mixed.train.photos[len(plain.train) :]}
    assert names == {
        f"train/{p.parent.name}/{p.name}" for p in (few_hands / "train").rglob("*.jpg")
    }


def test_hands_are_not_added_to_other_classes(tmp_path: Path, few_hands: Path) -> None:
    recipe = recipe_for_classes(tmp_path, "left", "right")
    assert recipe.data is not None
    recipe.runs.mkdir()
    data = load_dataset(recipe, recipe.data, recipe.runs)
    assert len(data.train) == len(data.scan.train)


def test_class_weights_give_classes_equal_totals() -> None:
    labels = np.array([0] * 6 + [1] * 2 + [2] * 4)
    weights = class_weights(labels, 3)
    totals = np.bincount(labels, weights[labels])
    np.testing.assert_allclose(totals, 4)
    assert weights[labels].mean() == pytest.approx(1)
    logits = jax.random.normal(jax.random.key(0), (12, 3))
    found = weighted(cross_entropy, weights)(logits, jnp.asarray(labels))
    wanted = cross_entropy(logits, jnp.asarray(labels)) * weights[labels]
    np.testing.assert_allclose(found, wanted)


def test_a_validation_share_keeps_sessions_together_and_calibrates(tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", 40, seed=1)
    paths = sorted(p.relative_to(tmp_path / "photos") for p in (tmp_path / "photos").rglob("*.png"))
    session = {path.as_posix(): int(path.stem) % 6 for path in paths}
    with (tmp_path / "sessions.csv").open("w") as file:
        csv.writer(file).writerows([("path", "session"), *session.items()])
    recipe = recipes.cnn.replace(
        data=tmp_path / "photos",
        groups=tmp_path / "sessions.csv",
        valid_share=0.3,
        runs=tmp_path / "runs",
        **QUICK,
    )
    run = fit(recipe, quiet=True)
    recipe.runs.mkdir(exist_ok=True)
    data = load_dataset(recipe, tmp_path / "photos", recipe.runs)
    sides = [
        {session[photo.path] for photo in split.photos}
        for split in (data.train, data.valid, data.test)
    ]
    assert all(sides) and not sides[0] & sides[1] and not (sides[0] | sides[1]) & sides[2]
    calibration = load(run.directory).calibration
    assert calibration.photos == len(data.valid) > 0
    assert 0.25 <= calibration.temperature <= 4


def test_patience_stops_early_and_keeps_the_best_weights(tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", 10, seed=2)
    recipe = recipes.cnn.replace(
        data=tmp_path / "photos",
        valid_share=0.3,
        patience=2,
        warmup_steps=0,
        # Nothing is learnt, so no epoch improves the score.
        learning_rate=1e-12,
        runs=tmp_path / "runs",
        **(QUICK | {"epochs": 9}),
    )
    run = fit(recipe, quiet=True)
    epochs = [row["epoch"] for row in run.history]
    assert 3 <= len(epochs) < 9
    scores = [(row["valid_accuracy"], -row["valid_loss"]) for row in run.history]
    best = scores.index(max(scores))
    assert best == len(epochs) - 3, "the training must stop two epochs after the best"
    best_step = int(run.history[best]["step"])
    for weights in (load(run.directory).weights, load(run.directory, best=True).weights):
        assert weights is not None
    assert (run.directory / "checkpoints" / f"{best_step:08d}").is_dir()
    # The run is complete, so `resume` and `fit_once` return it unchanged.
    assert resume(run.directory, quiet=True).results == run.results
    assert fit_once(recipe, quiet=True).directory == run.directory


def test_patience_needs_validation_photos(tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", 4, seed=2)
    recipe = recipes.cnn.replace(
        data=tmp_path / "photos", patience=2, runs=tmp_path / "runs", **QUICK
    )
    with pytest.raises(RecipeError, match="--valid-share"):
        fit(recipe, quiet=True)


def test_few_photos_get_more_epochs(tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", 4, seed=2)
    recipe = recipes.cnn.replace(
        data=tmp_path / "photos", min_steps=7, runs=tmp_path / "runs", **(QUICK | {"epochs": 1})
    )
    run = fit(recipe, quiet=True)
    assert run.history[-1]["step"] >= 7 > run.history[-2]["step"]


@pytest.mark.parametrize(
    "change", [{"valid_share": 0.9}, {"valid_share": -0.1}, {"hands": -1}, {"patience": -1}]
)
def test_values_out_of_range_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match=next(iter(change))):
        recipes.cnn.replace(**change)
