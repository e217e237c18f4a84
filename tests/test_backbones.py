"""A network that is not part of the package, registered by one file."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from flax import nnx
from PIL import Image

from chifoumi_jax import count_params, fit, load, recipes
from chifoumi_jax.errors import RecipeError
from chifoumi_jax.export import ExportError, export
from chifoumi_jax.models.backbone import Backbone
from chifoumi_jax.recipes import Recipe
from chifoumi_jax.training import summary
from chifoumi_jax.training.checkpoint import newest
from chifoumi_jax.training.crossval import cross_validate
from chifoumi_jax.training.run import Run
from chifoumi_jax.training.saving import restore
from tests import tiny_backbone


@pytest.fixture(scope="module")
def recipe(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    return recipes.transfer.replace(
        model=tiny_backbone.NAME,
        data=photos,
        runs=tmp_path_factory.mktemp("runs"),
        image_size=32,
        frozen_stages=1,
        hands=0,
        epochs=4,
        min_steps=0,
        learning_rate=5e-3,
        augmentation="none",
    )


@pytest.fixture(scope="module")
def finished(recipe: Recipe) -> Run:
    return fit(recipe, quiet=True)


def test_a_backbone_that_lacks_methods_is_an_error_that_names_them() -> None:
    class Half(Backbone):
        def is_frozen(self, path: tuple[Any, ...]) -> bool:
            return not path

    with pytest.raises(TypeError, match=r"feature_map.*load_pretrained"):
        Half()  # type: ignore[abstract]  # The test makes the error that mypy reports.


def test_the_method_of_version_0_1_0_still_works() -> None:
    class Earlier(tiny_backbone.Tiny):
        def take_over(self, pretrained: Backbone) -> None:
            self.taken_over = pretrained.num_classes

    model = Earlier(32, 3, rngs=nnx.Rngs(0))
    model.load_pretrained(tiny_backbone.weights(32))
    assert model.taken_over == 10


def test_it_is_trained_from_its_pretrained_weights(finished: Run) -> None:
    classifier = load(finished.directory)
    step, _ = newest(finished.directory / "checkpoints")
    state = restore(finished.directory, classifier.program, step or 0)[0]
    model, initial = nnx.merge(classifier.program.graph, state.weights), tiny_backbone.weights(32)
    np.testing.assert_array_equal(model.first.kernel[...], initial.first.kernel[...])
    changes = np.abs(model.second.kernel[...] - initial.second.kernel[...])
    assert 0 < changes.max() < 0.5
    assert finished.test_accuracy > 0.5


def test_it_predicts_and_explains(finished: Run, photos: Path) -> None:
    classifier = load(finished.directory)
    files = sorted((photos / "test").glob("*/*.png"))
    probabilities = classifier.predict(files).probabilities
    # Sums of three rounding errors of float32.
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert classifier.explain(files[0]).shape == (1, 32, 32)
    with pytest.raises(ExportError, match="the network tiny is not described"):
        export(finished.directory, "onnx", photos.parent / "model.onnx")


def test_directed_recipes_distinguish_directions(recipe: Recipe, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for name, step in (("up", -1), ("down", 1)):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(20):
            # One end is light in one class and dark in the other.
            light = np.linspace(40, 200, 32)[::step, None, None] + random.normal(0, 9, (32, 32, 3))
            pixels = np.clip(light, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{number}.png")
    wanted = recipe.replace(
        data=tmp_path / "photos",
        runs=tmp_path / "runs",
        augmentation="strong",
        epochs=25,
        learning_rate=5e-2,
        # The last layer trained first would learn the directions without any augmentation.
        head_first=False,
    )
    # Without `directed` the photos are rotated and mirrored, and the accuracy was 50 %.
    run = fit(wanted.directed(), quiet=True)
    assert run.results["train_accuracy"] > 0.95
    with pytest.raises(RecipeError, match="cnn does not support --directed: take transfer"):
        recipes.cnn.directed()


def test_its_features_can_be_cross_validated(recipe: Recipe, tmp_path: Path) -> None:
    _, (row,) = cross_validate(recipe.replace(runs=tmp_path), folds=3, depths=(0,), quiet=True)
    assert row.mean > 0.5


def test_its_summary_counts_all_parameters(recipe: Recipe) -> None:
    table = summary.layers(recipe)
    model = nnx.eval_shape(lambda: tiny_backbone.Tiny(32, 3, rngs=nnx.Rngs(0)))
    assert summary.total(table) == count_params(model) == 8 * 28 + 16 * 73 + 3 * 17
    assert [line.output_shape for line in table] == [(None, 8, 8, 16), (None, 3)]


def test_an_unregistered_name_is_an_error(recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"no network tyni: import the file that registers it"):
        fit(recipe.replace(model="tyni", runs=tmp_path), quiet=True)
    assert jax.tree.leaves(list(tmp_path.iterdir())) == []
