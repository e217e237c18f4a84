"""Classifying photos with a trained model."""

from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from chifoumi_jax import fit, load, recipes
from chifoumi_jax.data.problems import ImageProblem
from chifoumi_jax.prediction.classifier import Classifier
from chifoumi_jax.training import checkpoint
from chifoumi_jax.training.calibration import UNCALIBRATED, Calibration
from chifoumi_jax.training.run import RunError
from chifoumi_jax.training.saving import restore


@pytest.fixture(scope="module")
def classifier(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    recipe = recipes.cnn.replace(
        data=photos, runs=tmp_path_factory.mktemp("runs"), image_size=24, epochs=3
    )
    return load(fit(recipe, quiet=True).directory)


@pytest.fixture(scope="module")
def files(photos: Path) -> list[Path]:
    return sorted((photos / "test").glob("*/*.png"))


def test_answers_do_not_depend_on_the_batch_size(classifier: Classifier, files: list[Path]) -> None:
    labels, probabilities = classifier.predict(files)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    for batch_size in (1, 5, 64):
        again = classifier.predict(files, batch_size=batch_size)
        assert again.labels == labels
        np.testing.assert_allclose(again.probabilities, probabilities, atol=1e-5)


def test_arrays_and_files_give_the_same_answers(classifier: Classifier, files: list[Path]) -> None:
    arrays = [np.asarray(Image.open(file)) for file in files]
    np.testing.assert_array_equal(
        classifier.predict(arrays).probabilities, classifier.predict(files).probabilities
    )


def test_a_single_photo_and_an_empty_list(classifier: Classifier, files: list[Path]) -> None:
    one = classifier.predict(files[0])
    assert one.probabilities.shape == (1, 3)
    np.testing.assert_allclose(
        one.probabilities, classifier.predict(files).probabilities[:1], atol=1e-5
    )
    assert classifier.predict([]).labels == []


def test_gray_arrays_are_accepted(classifier: Classifier) -> None:
    gray = np.arange(30 * 40, dtype=np.uint8).reshape(30, 40)
    np.testing.assert_array_equal(
        classifier.predict(gray).probabilities,
        classifier.predict(np.stack([gray] * 3, axis=-1)).probabilities,
    )


@pytest.mark.parametrize(
    "array",
    [np.zeros((5, 5, 3), np.float32), np.zeros((5, 5, 4), np.uint8), np.zeros(5, np.uint8)],
)
def test_refuses_an_array_that_is_not_a_photo(classifier: Classifier, array: np.ndarray) -> None:
    with pytest.raises(ValueError, match="a photo array must be uint8"):
        classifier.predict(array)


def test_refuses_a_file_that_is_not_a_photo(classifier: Classifier, tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("not a photo")
    with pytest.raises(ImageProblem, match=r"text\.jpg"):
        classifier.predict(tmp_path / "text.jpg")


def test_load_without_mirror_images_or_without_averaged_weights(
    photos: Path, files: list[Path], tmp_path: Path
) -> None:
    run = fit(
        recipes.cnn.replace(
            data=photos, runs=tmp_path, image_size=24, epochs=2, average=0.9, mirror_test=True
        ),
        quiet=True,
    ).directory
    (run / "calibration.json").write_text('{"temperature": 2.0, "threshold": 0.5, "photos": 40}')
    default = load(run)
    assert default.calibration == Calibration(2.0, 0.5, 40)

    unmirrored = load(run, mirrored=False)
    assert unmirrored.calibration == UNCALIBRATED
    pixels = np.stack([unmirrored.pixels(file) for file in files])
    mean = (unmirrored.probabilities(pixels) + unmirrored.probabilities(pixels[:, :, ::-1])) / 2
    answers = default.predict(files).probabilities
    # Float32 rounding: the program averages logarithms, this test averages probabilities.
    np.testing.assert_allclose(default.calibration.apply_temperature(mean), answers, rtol=1e-5)

    last = load(run, averaged=False)
    assert last.calibration == UNCALIBRATED
    step, _ = checkpoint.newest(run / "checkpoints")
    state, _ = restore(run, default.program, step or 0)
    for trees, classifier in ((state.average, default), (state.params, last)):
        jax.tree.map(np.testing.assert_array_equal, trees, classifier.weights)
    differences = jax.tree.map(lambda a, b: np.abs(a - b).max(), state.average, state.params)
    assert max(jax.tree.leaves(differences)) > 0

    for other in ({"mirrored": False}, {"averaged": False}):
        with pytest.raises(RunError, match="name the run's folder"):
            load(tmp_path / "model.safetensors", **other)
