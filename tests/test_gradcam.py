"""Heat maps: they equal Grad-CAM, and they are hot where the photo shows the class."""

import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from chifoumi_jax import fit, load, recipes
from chifoumi_jax.models import CNN, EfficientNetLite0
from chifoumi_jax.models.network import Network
from chifoumi_jax.prediction import gradcam
from chifoumi_jax.prediction.classifier import Classifier
from chifoumi_jax.training.run import RunError
from tests.commands import devices

SIZE, SQUARE = 64, 16


@pytest.fixture(scope="module")
def efficientnet() -> EfficientNetLite0:
    """A network with only two stages, which compiles in a second."""
    return EfficientNetLite0(32, 4, stages=2, rngs=nnx.Rngs(2))


@pytest.fixture(scope="module")
def cnn() -> CNN:
    return CNN(30, 3, rngs=nnx.Rngs(4))


def images(seed: int, model: Network, count: int = 2) -> jax.Array:
    return jax.random.uniform(jax.random.key(seed), (count, model.image_size, model.image_size, 3))


@pytest.mark.parametrize("name", ["cnn", "efficientnet"])
def test_feature_map_and_classify_map_compose_to_the_network(
    name: str, request: pytest.FixtureRequest
) -> None:
    model: Network = request.getfixturevalue(name)
    photos = images(0, model)
    halves = jax.jit(lambda x: model.classify_map(model.feature_map(x)))(photos)
    # Float32 rounding: the two halves are compiled separately and may sum in another order.
    np.testing.assert_allclose(halves, jax.jit(model)(photos), rtol=1e-5, atol=1e-6)


@given(st.integers(0, 2**32 - 1), st.integers(0, 2))
@settings(max_examples=8, deadline=None)
def test_the_cnns_channel_weights_equal_finite_differences(seed: int, label: int) -> None:
    """A channel's weight is the logit's derivative along the whole channel, over its cells."""
    model = CNN(30, 3, rngs=nnx.Rngs(seed))
    photos = images(seed, model, 1)
    maps = np.asarray(model.feature_map(photos), np.float64)
    w1, w2 = (np.asarray(one.kernel[...], np.float64) for one in (model.dense1, model.dense2))

    def logit(maps: np.ndarray) -> float:
        # The biases are initialised with zero.
        return float((np.maximum(maps.reshape(-1) @ w1, 0) @ w2)[label])

    # Small enough that no hidden unit's ReLU switches on or off.
    step = 1e-7
    weights = np.zeros(maps.shape[3])
    for channel in range(len(weights)):
        change = np.zeros(maps.shape)
        change[..., channel] = step
        cells = maps.shape[1] * maps.shape[2]
        weights[channel] = (logit(maps + change) - logit(maps - change)) / (2 * step) / cells
    expected = np.maximum(maps @ weights, 0)
    assume(expected.max() > 0)
    found = gradcam.class_activation(model, photos, jnp.array([label]))
    # Float32 against float64: sums of a thousand terms, some of which cancel.
    np.testing.assert_allclose(found, expected, atol=1e-4 * expected.max(), rtol=1e-4)


def test_efficientnets_heat_map_equals_cam(efficientnet: EfficientNetLite0) -> None:
    """After a mean over the cells Grad-CAM is CAM (Zhou et al. 2016) over the number of cells."""
    model = efficientnet
    photos, labels = images(3, model, 4), jnp.arange(4)
    maps = np.asarray(model.feature_map(photos), np.float64)
    kernel = np.asarray(model.classify.kernel[...], np.float64)
    expected = np.maximum(np.einsum("bijc,cb->bij", maps, kernel[:, labels]), 0)
    assert expected.max() > 0
    cells = maps.shape[1] * maps.shape[2]
    found = gradcam.class_activation(model, photos, labels)
    # Float32 against float64, as above; 1e-7 is the rounding of a value of 1.
    np.testing.assert_allclose(found, expected / cells, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("name", ["cnn", "efficientnet"])
def test_heat_is_from_0_to_1_and_mirrored_with_the_photo(
    name: str, request: pytest.FixtureRequest
) -> None:
    model: Network = request.getfixturevalue(name)
    heat_maps = jax.jit(partial(gradcam.heat_maps, model, mirror=True))
    photos, labels = images(5, model, 6), jnp.arange(6) % 3
    heat = np.asarray(heat_maps(photos, labels))
    assert heat.shape == photos.shape[:3]
    assert heat.min() >= 0
    peaks = heat.max(axis=(1, 2))
    assert set(np.round(peaks, 6)) <= {0.0, 1.0} and peaks.max() > 0
    mirrored = heat_maps(photos[:, :, ::-1], labels)
    # Float32 sums in another order; the map is then divided by its largest value.
    np.testing.assert_allclose(mirrored[:, :, ::-1], heat, atol=1e-4)


def test_without_evidence_for_the_class_the_heat_map_is_zero() -> None:
    model = CNN(22, 3, rngs=nnx.Rngs(0))
    model.dense2.kernel[...] = jnp.zeros_like(model.dense2.kernel[...])
    heat = gradcam.heat_maps(model, images(0, model), jnp.array([0, 1]))
    np.testing.assert_array_equal(heat, np.zeros(heat.shape))


def test_a_cell_of_the_cnn_is_centred_in_its_receptive_field() -> None:
    model = CNN(SIZE, 3, rngs=nnx.Rngs(0))
    photos = images(1, model, 4)
    cells = model.feature_map(photos).shape[1]
    first, step = model.map_centres(cells)

    def row_sum(images: jax.Array, cell: int) -> jax.Array:
        return jnp.sum(jnp.take(model.feature_map(images), cell, axis=1))

    gradient = jax.jit(jax.grad(row_sum))
    for cell in range(cells):
        squares = np.asarray(gradient(photos, cell)) ** 2
        rows = squares.sum(axis=(0, 2, 3))
        assert (rows @ np.arange(SIZE)) / rows.sum() == pytest.approx(first + step * cell, abs=1)


@pytest.fixture(scope="module")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos of noise with a striped square; only the direction of the stripes gives the class."""
    root, random = tmp_path_factory.mktemp("squares"), np.random.default_rng(0)
    for name in ("across", "down"):
        (root / name).mkdir()
        for number in range(40):
            pixels, _ = draw_square(random, name)
            Image.fromarray(pixels).save(root / name / f"{number}.png")
    return root


def draw_square(random: np.random.Generator, name: str) -> tuple[np.ndarray, tuple[int, int]]:
    pixels = np.clip(random.normal(110, 15, (SIZE, SIZE, 3)), 0, 255).astype(np.uint8)
    top, left = random.integers(6, SIZE - SQUARE - 6, 2)
    stripes = np.where(np.arange(SQUARE) % 4 < 2, 235, 20)[:, None, None]
    square = np.broadcast_to(stripes, (SQUARE, SQUARE, 3))
    square = square if name == "across" else square.transpose(1, 0, 2)
    pixels[top : top + SQUARE, left : left + SQUARE] = square
    return pixels, (int(top), int(left))


@pytest.fixture(scope="module")
def classifier(squares: Path, tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    recipe = recipes.cnn.replace(
        data=squares,
        runs=tmp_path_factory.mktemp("runs"),
        image_size=SIZE,
        epochs=12,
        learning_rate=2e-3,
        # Mirrored and moved squares would add nothing new.
        augmentation="none",
    )
    run = fit(recipe, quiet=True)
    assert run.test_accuracy > 0.9
    return load(run.directory)


@pytest.mark.parametrize("name", ["across", "down"])
def test_the_heat_lies_on_the_square(classifier: Classifier, name: str) -> None:
    random = np.random.default_rng(7)
    photos, corners = zip(*(draw_square(random, name) for _ in range(20)), strict=True)
    heats = classifier.explain(list(photos), name)
    inside, outside = [], []
    for heat, (top, left) in zip(heats, corners, strict=True):
        mask = np.zeros(heat.shape, bool)
        mask[top : top + SQUARE, left : left + SQUARE] = True
        inside.append(heat[mask].mean())
        outside.append(heat[~mask].mean())
    assert np.mean(inside) > 3 * np.mean(outside)


def test_explain_accepts_the_same_photos_as_predict(classifier: Classifier, squares: Path) -> None:
    files = [squares / name / "3.png" for name in ("across", "down")]
    heats = classifier.explain(files)
    labels = classifier.predict(files).labels
    # Float32 rounding of values up to 1: another batch size is compiled separately.
    np.testing.assert_allclose(classifier.explain(Image.open(files[1])), heats[1:], atol=1e-5)
    for index, label in enumerate(labels):
        heat = classifier.explain(np.asarray(Image.open(files[index])), label, batch_size=1)
        np.testing.assert_allclose(heat, heats[index : index + 1], atol=1e-5)
    assert classifier.explain([]).shape == (0, SIZE, SIZE)
    with pytest.raises(ValueError, match="across, down"):
        classifier.explain(files, "up")


def test_a_perceptron_has_no_heat_map() -> None:
    assert gradcam.has_feature_map(recipes.transfer)
    for recipe in (recipes.study_mlp, recipes.study_mlp_v21):
        with pytest.raises(RunError, match="perceptron"):
            gradcam.require_feature_map(recipe)


CODE = """
import sys
import jax
import numpy as np
from chifoumi_jax import load
assert jax.device_count() == 3
photos = [np.load(path) for path in sys.argv[2:-1]]
np.save(sys.argv[-1], load(sys.argv[1]).explain(photos))
"""


def test_several_devices_share_the_photos(classifier: Classifier, tmp_path: Path) -> None:
    random = np.random.default_rng(11)
    photos: list[Any] = [draw_square(random, "down")[0] for _ in range(4)]
    files = [tmp_path / f"{index}.npy" for index in range(4)]
    for file, photo in zip(files, photos, strict=True):
        np.save(file, photo)
    directory = classifier.recipe.runs / "cnn-1"
    done = subprocess.run(
        [sys.executable, "-c", CODE, directory, *files, tmp_path / "heats.npy"],
        capture_output=True,
        text=True,
        env=devices(3),
    )
    assert done.returncode == 0, done.stderr
    found = np.load(tmp_path / "heats.npy")
    # Float32 sums in another order; the maps are then divided by their largest value.
    np.testing.assert_allclose(found, classifier.explain(photos), atol=1e-4)
