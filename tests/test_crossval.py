"""Cross-validation of heads on frozen features, and of whole trainings."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from chifoumi_jax import recipes
from chifoumi_jax.backbones import BACKBONES, efficientnet_lite0
from chifoumi_jax.data.dataset import load_dataset
from chifoumi_jax.data.problems import DataError
from chifoumi_jax.errors import RecipeError
from chifoumi_jax.recipes import Recipe
from chifoumi_jax.training.crossval import FINE_TUNED, cross_validate, divide
from tests.commands import chifoumi
from tests.conftest import write_photos


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve photos of each class, and a table that assigns them to six sessions."""
    root = tmp_path_factory.mktemp("crossval")
    write_photos(root / "photos", 12, seed=3)
    with (root / "sessions.csv").open("w") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "session"])
        for photo in sorted((root / "photos").rglob("*.png")):
            path = photo.relative_to(root / "photos").as_posix()
            rows.writerow([path, int(photo.stem) % 6])
    return root


@pytest.fixture
def recipe(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    # Two stages have every kind of layer, and compile in a quarter of the time.
    monkeypatch.setitem(BACKBONES, "efficientnet-lite0-small", efficientnet_lite0(stages=2))
    return recipes.small.replace(
        data=folder / "photos",
        groups=folder / "sessions.csv",
        image_size=32,
        batch_size=12,
        epochs=1,
        min_steps=0,
        hands=0,
        runs=tmp_path / "out",
    )


def test_no_session_is_in_two_folds_and_each_photo_is_in_one(recipe: Recipe) -> None:
    assert recipe.data is not None
    recipe.runs.mkdir()
    data = load_dataset(recipe, recipe.data, recipe.runs, test_share=0.0)
    folds = divide(recipe, data, 3)
    assert len(data.train) == 36 and folds.sessions == 6
    assert sorted(np.bincount(folds.fold_of)) == [12, 12, 12]
    session_folds: dict[int, set[int]] = {}
    for photo, fold in zip(data.train.photos, folds.fold_of, strict=True):
        session_folds.setdefault(int(Path(photo.path).stem) % 6, set()).add(int(fold))
    assert all(len(found) == 1 for found in session_folds.values())
    for fold in range(3):
        in_fold = data.train.labels[folds.fold_of == fold]
        assert set(np.bincount(in_fold)) == {4}, "equally many of each class"


def test_heads_learn_and_files_are_written(recipe: Recipe) -> None:
    folds, rows = cross_validate(recipe, folds=3, depths=(0, 1), quiet=True)
    assert [row.name for row in rows] == ["linear head", "1 hidden layer"]
    assert all(row.mean > 0.8 for row in rows)
    for row in rows:
        matrix = np.array(row.confusion)
        right = sum(a * n for a, n in zip(row.accuracies, np.bincount(folds.fold_of), strict=True))
        assert matrix.sum() == 36 and np.trace(matrix) == pytest.approx(right)
    found = json.loads((recipe.runs / "crossval.json").read_text())
    assert found["sessions"] == 6 and found["rows"][0]["mean"] == rows[0].mean
    with Image.open(recipe.runs / "crossval.png") as plot:
        assert plot.size > (300, 200)


def test_random_labels_are_predicted_at_chance(
    folder: Path, recipe: Recipe, tmp_path: Path
) -> None:
    # The photos of a session are similar and their labels are random, so that only leakage between
    # the folds could give more than chance.
    root, random = tmp_path / "photos", np.random.default_rng(0)
    rows = [["path", "session"]]
    for session in range(30):
        colour = random.integers(0, 256, 3)
        for number in range(4):
            name = f"{random.choice(['a', 'b', 'c'])}/{session}-{number}.png"
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            pixels = np.clip(colour + random.normal(0, 8, (32, 32, 3)), 0, 255)
            Image.fromarray(pixels.astype(np.uint8)).save(root / name)
            rows.append([name, str(session)])
    with (tmp_path / "sessions.csv").open("w") as file:
        csv.writer(file).writerows(rows)
    wanted = recipe.replace(data=root, groups=tmp_path / "sessions.csv")
    _, (row,) = cross_validate(wanted, folds=3, depths=(0,), quiet=True)
    # Four standard deviations of the share of 120 answers with probability 1/3.
    assert abs(np.trace(np.array(row.confusion)) / 120 - 1 / 3) < 4 * (2 / 9 / 120) ** 0.5


def test_finished_trainings_are_not_repeated(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe.replace(frozen_stages=1, head_first=False)
    _, rows = cross_validate(recipe, folds=2, depths=(), full=True, quiet=True)
    assert [row.name for row in rows] == [FINE_TUNED]
    assert {path.name for path in recipe.runs.iterdir() if path.is_dir()} == {"fold-1", "fold-2"}

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr("chifoumi_jax.training.fit.fit", refuse)
    _, again = cross_validate(recipe, folds=2, depths=(), full=True, quiet=True)
    assert again == rows

    lists = {path: path.read_text() for path in recipe.runs.glob("fold-*/*.txt")}
    with pytest.raises(DataError, match=r"training on other folds.*give another --out"):
        cross_validate(recipe, folds=3, depths=(), full=True, quiet=True)
    assert lists == {path: path.read_text() for path in recipe.runs.glob("fold-*/*.txt")}
    assert len(lists) == 4


def test_photos_that_cannot_be_divided_are_refused(
    folder: Path, recipe: Recipe, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="6 sessions cannot be divided into 7 folds"):
        cross_validate(recipe, folds=7, quiet=True)
    with pytest.raises(DataError, match="36 different photos cannot be divided into 37 folds"):
        cross_validate(recipe.replace(groups=None), folds=37, quiet=True)
    with pytest.raises(RecipeError, match="no pretrained network"):
        cross_validate(recipes.cnn.replace(data=recipe.data), quiet=True)
    few = recipe.replace(data=write_photos(tmp_path / "few", 4), groups=None)
    with pytest.raises(DataError, match=r"no class has as many photos .* take --folds 4 or less"):
        cross_validate(few, folds=5, quiet=True)
    rows = (folder / "sessions.csv").read_text().splitlines()
    (tmp_path / "one.csv").write_text(
        "\n".join(f"{row.split(',')[0]},x" if row.startswith("rock/") else row for row in rows)
    )
    with pytest.raises(
        DataError, match=r"all photos of rock are photos of one session: .* add others"
    ):
        cross_validate(recipe.replace(groups=tmp_path / "one.csv"), folds=2, quiet=True)
    assert not recipe.runs.exists()


def test_photos_without_a_session_are_left_out(
    folder: Path, recipe: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = (folder / "sessions.csv").read_text().splitlines()
    (tmp_path / "some.csv").write_text("\n".join([rows[0], *rows[1::2]]) + "\n")
    some = recipe.replace(groups=tmp_path / "some.csv")
    folds, _ = cross_validate(some, folds=2, depths=(0,))
    assert len(folds.fold_of) == 18 and folds.sessions == 3
    assert "18 × picture that the groups file does not name, left out" in capsys.readouterr().err

    (tmp_path / "none.csv").write_text("path,session\nphotos/rock/0.png,1\n")
    out = tmp_path / "none"
    with pytest.raises(DataError, match="no photos to train on that the groups file names"):
        cross_validate(recipe.replace(groups=tmp_path / "none.csv", runs=out), quiet=True)
    assert not out.exists(), "a refused command leaves no folder"


def test_the_command_prints_a_table_and_refuses_wrong_options(folder: Path, tmp_path: Path) -> None:
    done = chifoumi(
        *("crossval", "--recipe", "small", "--data", folder / "photos"),
        *("--folds", "2", "--heads", "0"),
        *("--image-size", "32", "--out", tmp_path / "out"),
        setup="from chifoumi_jax import backbones\n"
        "backbones.BACKBONES['efficientnet-lite0-small'] = backbones.efficientnet_lite0(stages=2)",
    )
    assert done.returncode == 0, done.stderr
    assert "linear head" in done.stdout and "\n36 photos. The plot" in done.stdout
    assert "Without --groups" in done.stderr
    wrong = chifoumi("crossval", "--data", folder / "photos", "--folds", "1")
    assert wrong.returncode == 2 and "--folds must be at least 2" in wrong.stderr
    wrong = chifoumi("crossval", "--data", folder / "photos", "--epochs", "3")
    assert wrong.returncode == 2 and "give --full too" in wrong.stderr
