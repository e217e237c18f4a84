"""Whole trainings in this process, from the first batch to the report."""

import contextlib
import csv
import dataclasses
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest
from flax import nnx
from PIL import Image

from chifoumi_jax import fit, load, recipes, resume
from chifoumi_jax.data.dataset import load_dataset
from chifoumi_jax.data.problems import DataError
from chifoumi_jax.errors import RecipeError
from chifoumi_jax.files import write_json
from chifoumi_jax.training import checkpoint, evaluation, pictures, progress, resources, saving
from chifoumi_jax.training.calibration import UNCALIBRATED, Calibration
from chifoumi_jax.training.display import Display
from chifoumi_jax.training.program_cache import program_of
from chifoumi_jax.training.progress import DivergedError
from chifoumi_jax.training.resources import DoesNotFitError
from chifoumi_jax.training.run import Run, RunError, read, read_config
from chifoumi_jax.training.trainer import Trainer
from tests.conftest import write_photos
from tests.runs import assert_same_training

QUICK: dict[str, Any] = {"image_size": 24, "epochs": 3}
LONG_ENOUGH: dict[str, Any] = {"image_size": 24, "epochs": 10, "learning_rate": 2e-3}


@pytest.fixture(scope="module")
def finished(
    photos: Path,
    tmp_path_factory: pytest.TempPathFactory,
    draw_pictures: Callable[..., None],
) -> Run:
    recipe = recipes.cnn.replace(data=photos, runs=tmp_path_factory.mktemp("runs"), **LONG_ENOUGH)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pictures, "write_report", draw_pictures)
        return fit(recipe, quiet=True)


def test_learns_easy_photos(finished: Run) -> None:
    assert finished.test_accuracy == 1.0
    assert finished.history[-1]["loss"] < finished.history[0]["loss"]


def test_a_finished_run_holds_all_files(finished: Run) -> None:
    names = {path.name for path in finished.directory.iterdir()}
    pictures = {"curves.png", "confusion.png", "mistakes.png"}
    files = {"config.json", "photos.json", "metrics.csv", "results.json", "checkpoints", ".lock"}
    assert names == pictures | files
    for name in pictures:
        with Image.open(finished.directory / name) as picture:
            assert picture.size > (200, 100)
    config = json.loads((finished.directory / "config.json").read_text())
    assert config["classes"] == ["paper", "rock", "scissors"]
    assert config["recipe"]["seed"] == 0
    assert config["versions"]["jax"] == jax.__version__
    assert len(config["data"]["fingerprint"]) == 64
    photos = json.loads((finished.directory / "photos.json").read_text())
    assert {name: len(hashes) for name, hashes in photos.items()} == {
        name: config["data"][name] for name in ("train", "valid")
    }
    with (finished.directory / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == [str(epoch) for epoch in range(1, 11)]
    assert float(rows[-1]["loss"]) == finished.history[-1]["loss"]


def test_a_finished_run_can_be_read(finished: Run) -> None:
    assert read(finished.directory) == finished
    recipe, _ = read_config(finished.directory)
    assert recipe.epochs == 10
    assert recipe.name == "cnn"


def test_two_runs_do_not_share_a_folder(photos: Path, tmp_path: Path) -> None:
    recipe = recipes.study_mlp.replace(data=photos, runs=tmp_path, epochs=1)
    assert [fit(recipe, quiet=True).directory.name for _ in range(2)] == [
        "study-mlp-1",
        "study-mlp-2",
    ]


# `test_transfer` covers the pretrained networks: there a resumed run equals another bit for bit.
NOT_PRETRAINED = [recipe for recipe in recipes.RECIPES.values() if not recipe.pretrained]


@pytest.mark.parametrize("recipe", NOT_PRETRAINED, ids=lambda recipe: recipe.name)
def test_equal_seeds_give_equal_weights_and_other_seeds_others(
    recipe: recipes.Recipe, photos: Path, tmp_path: Path
) -> None:
    sizes = {"cnn": {"image_size": 24}, "efficientnet-lite0": {"image_size": 32, "batch_size": 12}}
    size = sizes.get(recipe.model, {})
    recipe = recipe.replace(data=photos, runs=tmp_path, epochs=2, **size)
    runs = [fit(recipe.replace(seed=seed), quiet=True) for seed in (0, 0, 1)]
    # Running statistics are left out: they come from the pretrained network for every seed.
    weights = [
        jax.tree.leaves(nnx.filter_state(load(run.directory).weights, nnx.Param)) for run in runs
    ]
    for first, second, other in zip(*weights, strict=True):
        np.testing.assert_array_equal(first, second)
        assert not np.array_equal(first, other)


def test_another_seed_needs_no_compilation(photos: Path, tmp_path: Path) -> None:
    compiled: list[str] = []

    def listen(event: str, *_: object, **__: object) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(event)

    recipe = recipes.study_mlp.replace(data=photos, runs=tmp_path, epochs=2)
    fit(recipe, quiet=True)
    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        fit(recipe.replace(seed=1), quiet=True)
        assert not compiled
        fit(recipe.replace(learning_rate=3e-3), quiet=True)
        assert compiled, "the listener works"
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


@pytest.mark.parametrize("seed", [0, 1, 2**31, 2**32 - 1])
def test_the_keys_of_a_seed_are_those_of_jax(seed: int) -> None:
    keys = program_of(recipes.study_mlp, 3).seeds(seed)
    expected = jax.random.split(jax.random.key(seed))
    np.testing.assert_array_equal(jax.random.key_data(keys), jax.random.key_data(expected))


def test_the_studys_recipe_records_what_the_study_printed(photos: Path, tmp_path: Path) -> None:
    recipe = recipes.study_cnn.replace(data=photos, runs=tmp_path, image_size=24, epochs=2)
    run = fit(recipe, quiet=True)
    row = run.history[0]
    # 42 images in batches of 25 make one step per epoch, so that the epoch's mean is the batch's.
    assert row["study_loss"] == row["loss"]
    assert {"study_accuracy", "study_valid_accuracy", "study_valid_loss"} <= set(row)
    assert run.results["train_images"] == 42
    assert run.results["test_images"] == 12


def test_the_studys_mlp_has_dropout_in_the_first_epoch_only(photos: Path, tmp_path: Path) -> None:
    recipe = recipes.study_mlp.replace(
        data=photos, runs=tmp_path, epochs=3, augmentation="none", learning_rate=1e-12
    )
    # Without learning and augmentation, epochs can only differ by dropout.
    losses = [row["loss"] for row in fit(recipe, quiet=True).history]
    assert losses[0] != pytest.approx(losses[1], rel=1e-4)
    assert losses[1] == pytest.approx(losses[2], rel=1e-6)


def test_the_studys_mlp_is_tested_under_augmentation_too(photos: Path, tmp_path: Path) -> None:
    run = fit(recipes.study_mlp.replace(data=photos, runs=tmp_path, epochs=2), quiet=True)
    assert run.results["study_test_images"] == 12
    assert run.results["study_test_loss"] != run.results["test_loss"]


def test_validation_photos_select_the_best_checkpoint(tmp_path: Path) -> None:
    for number, split in enumerate(("train", "valid", "test")):
        write_photos(tmp_path / "photos" / split, 5, seed=number)
    recipe = recipes.cnn.replace(data=tmp_path / "photos", runs=tmp_path, **QUICK)
    run = fit(recipe.replace(epochs=5), quiet=True)
    scores = [(row["valid_accuracy"], -row["valid_loss"]) for row in run.history]
    steps = [int(row["step"]) for row in run.history]
    checkpoints = run.directory / "checkpoints"
    expected = steps[scores.index(max(scores))]
    assert checkpoint.best(checkpoints, steps[-1]) == expected
    assert expected in checkpoint.steps(checkpoints)
    load(run.directory, best=True)


def test_the_calibration_applies_to_the_last_state_only(tmp_path: Path) -> None:
    for number, split in enumerate(("train", "valid")):
        write_photos(tmp_path / "photos" / split, 5, seed=number)
    # With this learning rate nothing is learnt, so the first epoch is the best.
    stuck = QUICK | {"epochs": 2, "learning_rate": 1e-12, "warmup_steps": 0}
    run = fit(recipes.cnn.replace(data=tmp_path / "photos", runs=tmp_path, **stuck), quiet=True)
    last = int(run.history[-1]["step"])
    assert checkpoint.best(run.directory / "checkpoints", last) < last
    known = Calibration(temperature=2.0, threshold=0.5, photos=30)
    write_json(run.directory / "calibration.json", dataclasses.asdict(known))
    assert load(run.directory).calibration == known
    assert load(run.directory, best=True).calibration == UNCALIBRATED


def test_without_test_photos_there_is_no_test_accuracy(tmp_path: Path) -> None:
    # With one photo of each class, none can be set aside for testing.
    write_photos(tmp_path / "photos" / "train", 1)
    run = fit(recipes.cnn.replace(data=tmp_path / "photos", runs=tmp_path, **QUICK), quiet=True)
    assert not (run.directory / "confusion.png").exists()
    with pytest.raises(RunError, match="no test accuracy"):
        run.test_accuracy  # noqa: B018


def test_a_folder_without_splits_is_divided(tmp_path: Path) -> None:
    root = write_photos(tmp_path / "photos", 20)
    recipe = recipes.cnn.replace(data=root, runs=tmp_path, **QUICK)
    data = load_dataset(recipe, root, tmp_path)
    assert (len(data.train), len(data.test)) == (51, 9)
    assert not {photo.path for photo in data.train.photos} & {p.path for p in data.test.photos}


def test_each_photo_is_decoded_once(photos: Path, tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    from chifoumi_jax.data.folder import decoding

    decoded: list[str] = []
    from chifoumi_jax.data.decode import decode

    def counting(content: bytes, name: str, **options: Any) -> Image.Image:
        decoded.append(name)
        return decode(content, name, **options)

    monkeypatch.setattr(decoding, "decode", counting)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    fit(recipes.cnn.replace(data=photos, runs=tmp_path, **QUICK), quiet=True)
    assert len(decoded) == len(set(decoded)) == 54
    # The next run decodes none.
    fit(recipes.cnn.replace(data=photos, runs=tmp_path, **QUICK), quiet=True)
    assert len(decoded) == 54


def test_bad_photos_are_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_photos(tmp_path / "photos", 8)
    (root / "rock" / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    recipe = recipes.cnn.replace(data=root, runs=tmp_path, **QUICK)
    fit(recipe, quiet=True)
    assert "rock/broken.jpg" in capsys.readouterr().err
    with pytest.raises(DataError):
        fit(recipe.replace(strict=True), quiet=True)


def test_a_batch_is_no_larger_than_the_training_set(photos: Path, tmp_path: Path) -> None:
    recipe = recipes.cnn.replace(data=photos, runs=tmp_path, **QUICK | {"batch_size": 100_000})
    data = load_dataset(recipe, photos, tmp_path)
    part = Trainer(recipe, data, Display(quiet=True)).feed.abstract()
    assert part.rows.shape == (1, len(data.train))


def test_a_run_that_does_not_fit_memory_or_disk_is_refused(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipes.cnn.replace(data=photos, runs=tmp_path, **QUICK)
    monkeypatch.setattr("chifoumi_jax.training.resources._available_memory", lambda: 1000)
    with pytest.raises(DoesNotFitError, match="--batch-size"):
        fit(recipe, quiet=True)
    monkeypatch.undo()
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=10))
    with pytest.raises(DoesNotFitError, match="--runs"):
        fit(recipe, quiet=True)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs"),
        ({"batch_size": -1}, "batch_size"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"seed": -1}, "seed"),
        ({"image_size": 21}, "image_size"),
        ({"image_size": 5000}, "image_size"),
        ({"train_list": "x.txt"}, "--data"),
    ],
)
def test_an_invalid_recipe_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        recipes.cnn.replace(**changes)


@pytest.mark.usefixtures("unchecked_types")
def test_an_unknown_choice_is_refused() -> None:
    message = "optimizer must be one of keras_adam, torch_sgd, adamw, not sgd"
    with pytest.raises(RecipeError, match=message):
        recipes.cnn.replace(optimizer="sgd")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": "5"}, "epochs must be an integer, not '5'"),
        ({"image_size": 24.0}, "image_size must be an integer, not 24.0"),
        ({"epochs": True}, "epochs must be an integer, not True"),
        ({"learning_rate": None}, "learning_rate must be a number, not None"),
        ({"data": 3}, "data must be a path, not 3"),
        ({"optimiser": "adamw"}, "a recipe has no field optimiser; did you mean optimizer"),
        ({"xyz": 1}, "a recipe has no field xyz$"),
    ],
)
@pytest.mark.usefixtures("unchecked_types")
def test_a_wrong_type_or_field_of_a_recipe_is_refused(
    changes: dict[str, object], message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        recipes.cnn.replace(**changes)


def test_numbers_of_numpy_are_accepted() -> None:
    changed = recipes.cnn.replace(epochs=np.int64(3), learning_rate=np.float32(0.5))
    assert (changed.epochs, changed.learning_rate) == (3, 0.5)


def test_resume_of_a_complete_run_changes_no_file(finished: Run) -> None:
    before = {p: p.stat().st_mtime_ns for p in finished.directory.rglob("*") if p.name != ".lock"}
    assert resume(finished.directory, quiet=True) == finished
    after = {p: p.stat().st_mtime_ns for p in finished.directory.rglob("*") if p.name != ".lock"}
    assert before == after


def test_resume_finishes_a_run_that_ended_before_its_report(
    photos: Path,
    tmp_path: Path,
    draw_pictures: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = fit(recipes.cnn.replace(data=photos, runs=tmp_path, **QUICK), quiet=True)
    (run.directory / "results.json").unlink()
    monkeypatch.setattr(pictures, "write_report", draw_pictures)
    assert resume(run.directory, quiet=True).results == run.results
    assert (run.directory / "confusion.png").exists()


def test_resume_refuses_other_photos(tmp_path: Path) -> None:
    root = write_photos(tmp_path / "photos", 8)
    run = fit(recipes.cnn.replace(data=root, runs=tmp_path, **QUICK), quiet=True)
    (root / "rock" / "000.png").unlink()
    with pytest.raises(RunError, match="differ from those"):
        resume(run.directory, quiet=True)


def test_resume_refuses_other_epochs_if_the_learning_rate_depends_on_them(finished: Run) -> None:
    with pytest.raises(RunError, match="--epochs 9"):
        resume(finished.directory, epochs=9, quiet=True)


def test_a_run_resumed_with_more_epochs_equals_one_long_run(photos: Path, tmp_path: Path) -> None:
    recipe = recipes.study_cnn.replace(data=photos, runs=tmp_path, image_size=24)
    long = fit(recipe.replace(epochs=5), quiet=True)
    short = fit(recipe.replace(epochs=3), quiet=True)
    resumed = resume(short.directory, epochs=5, quiet=True)
    assert_same_training(long, resumed)


def test_a_run_in_use_is_refused(finished: Run) -> None:
    import fcntl

    with (finished.directory / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(RunError, match="in use"):
            resume(finished.directory, quiet=True)


@pytest.mark.parametrize(
    "config",
    [
        "",
        "[]",
        "{}",
        '{"format": 99, "recipe": {}}',
        '{"format": 1, "recipe": {"x": 1}}',
        '{"format": 1, "recipe": []}',
    ],
)
def test_a_folder_that_is_not_a_run_is_refused(tmp_path: Path, config: str) -> None:
    with pytest.raises(RunError, match=r"config\.json"):
        resume(tmp_path)
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(RunError, match=r"config\.json"):
        load(tmp_path)


def test_the_best_state_is_kept_although_few_epochs_are_saved(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter([0.1, 0.5, 0.9, 0.2, 0.1, 0.1])

    def scripted(*_: object) -> dict[str, float]:
        return {"valid_loss": 1.0, "valid_accuracy": next(scores)}

    monkeypatch.setattr(evaluation.Evaluation, "validation", scripted)
    saved: list[int] = []
    save = checkpoint.save

    def counting(directory: Path, step: int, *rest: Any) -> Path:
        saved.append(step)
        return save(directory, step, *rest)

    monkeypatch.setattr(checkpoint, "save", counting)
    monkeypatch.setattr(saving, "_SAVE_SHARE", 1e-9)
    recipe = recipes.cnn.replace(data=photos, runs=tmp_path, image_size=24, epochs=6)
    run = fit(recipe, quiet=True)
    first, best, last = (int(run.history[epoch]["step"]) for epoch in (0, 2, 5))
    assert saved == [first, best, last]
    assert checkpoint.best(run.directory / "checkpoints", last) == best
    assert set(checkpoint.steps(run.directory / "checkpoints")) >= {best, last}
    both = (load(run.directory, best=best).weights for best in (True, False))
    assert any(
        not np.array_equal(left, right)
        for left, right in zip(*map(jax.tree.leaves, both), strict=True)
    )


@pytest.mark.parametrize("epochs", [1, 3])
def test_a_diverged_training_is_an_error(photos: Path, tmp_path: Path, epochs: int) -> None:
    # The loss is finite after the first step and not finite after later ones.
    recipe = recipes.cnn.replace(data=photos, runs=tmp_path, image_size=24, epochs=epochs)
    with pytest.raises(DivergedError, match=r"diverged: .* is nan after .*--learning-rate than 1e"):
        fit(recipe.replace(learning_rate=1e37), quiet=True)


def test_bfloat16_learns_too(finished: Run, photos: Path, tmp_path: Path) -> None:
    recipe = recipes.cnn.replace(data=photos, runs=tmp_path, precision="bfloat16", **LONG_ENOUGH)
    run = fit(recipe, quiet=True)
    assert run.test_accuracy == 1.0
    params = load(run.directory).weights
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {np.dtype(np.float32)}
    exact, _ = read_config(finished.directory)
    assert exact == recipe.replace(precision="float32", runs=exact.runs)
    # bfloat16 keeps eight bits of each factor, so that single values are off by up to 1 %, and the
    # errors add up over 10 epochs. The loss begins at 1.1; without learning it would differ by far
    # more than 0.1.
    rough, fine = ([row["loss"] for row in each.history] for each in (run, finished))
    assert rough != fine
    np.testing.assert_allclose(rough, fine, atol=0.1)


def test_streamed_pixels_train_like_resident_pixels(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipes.cnn.replace(data=photos, runs=tmp_path, **QUICK)
    resident = fit(recipe, quiet=True)
    monkeypatch.setattr(resources, "_SHARE_FOR_PIXELS", 0.0)
    streamed = fit(recipe, quiet=True)
    progress = streamed.directory / "checkpoints" / "00000018" / "progress.json"
    assert json.loads(progress.read_text())["iterator"] == {"next_index": 18}
    both = (load(run.directory).weights for run in (resident, streamed))
    for left, right in zip(*map(jax.tree.leaves, both), strict=True):
        # The two programs compute the same sums and only take a batch's pixels from different
        # places. XLA may fuse them differently: float32 rounding errors, over 18 steps.
        np.testing.assert_allclose(left, right, rtol=1e-5, atol=1e-6)


def test_an_interrupt_that_a_callback_swallows_still_stops_the_training(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compile_steps = Trainer.compile

    def interrupted(trainer: Trainer, directory: Path) -> None:
        # As if it came during a callback of JAX, whose errors are printed and then ignored.
        with contextlib.suppress(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        compile_steps(trainer, directory)

    monkeypatch.setattr(Trainer, "compile", interrupted)
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(progress.Stopped) as stopped:
        fit(recipes.cnn.replace(data=photos, runs=tmp_path, **QUICK), quiet=True)
    assert signal.getsignal(signal.SIGINT) is handler
    monkeypatch.undo()
    assert len(resume(stopped.value.directory, quiet=True).history) == 3


def test_an_interrupt_before_the_first_step_ends_the_training_at_once(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Trainer, "compile", lambda *_: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt) as interrupt:
        fit(recipes.cnn.replace(data=photos, runs=tmp_path, **QUICK), quiet=True)
    assert not isinstance(interrupt.value, progress.Stopped)
    assert not list(tmp_path.iterdir()), "no run was created"
