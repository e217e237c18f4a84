"""A trained model asked about photos."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from chifoumi_jax import fit, load, recipes
from chifoumi_jax.classifier import Classifier
from chifoumi_jax.data.problems import ImageProblem


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


def test_arrays_and_files_are_the_same(classifier: Classifier, files: list[Path]) -> None:
    arrays = [np.asarray(Image.open(file)) for file in files]
    np.testing.assert_array_equal(
        classifier.predict(arrays).probabilities, classifier.predict(files).probabilities
    )


def test_one_photo_and_none(classifier: Classifier, files: list[Path]) -> None:
    one = classifier.predict(files[0])
    assert one.probabilities.shape == (1, 3)
    np.testing.assert_allclose(
        one.probabilities, classifier.predict(files).probabilities[:1], atol=1e-5
    )
    assert classifier.predict([]).labels == []


def test_gray_arrays_are_photos(classifier: Classifier) -> None:
    gray = np.arange(30 * 40, dtype=np.uint8).reshape(30, 40)
    np.testing.assert_array_equal(
        classifier.predict(gray).probabilities,
        classifier.predict(np.stack([gray] * 3, axis=-1)).probabilities,
    )


@pytest.mark.parametrize(
    "array",
    [np.zeros((5, 5, 3), np.float32), np.zeros((5, 5, 4), np.uint8), np.zeros(5, np.uint8)],
)
def test_refuses_an_array_that_is_no_photo(classifier: Classifier, array: np.ndarray) -> None:
    with pytest.raises(ValueError, match="a photo is uint8"):
        classifier.predict(array)


def test_refuses_a_file_that_is_no_photo(classifier: Classifier, tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("not a photo")
    with pytest.raises(ImageProblem, match=r"text\.jpg"):
        classifier.predict(tmp_path / "text.jpg")
