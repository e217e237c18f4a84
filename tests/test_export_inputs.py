"""The photos for the comparison of an export."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chifoumi_jax import fit, recipes
from chifoumi_jax.data.problems import DataError
from chifoumi_jax.export import inputs
from chifoumi_jax.export.inputs import balanced_indices, gather
from chifoumi_jax.prediction.load import load
from tests.conftest import write_photos


@given(st.lists(st.integers(0, 4), min_size=1, max_size=40), st.integers(1, 50))
def test_balanced_indices_take_equally_many_of_each_class(labels: list[int], most: int) -> None:
    array = np.array(labels, np.int32)
    indices = balanced_indices(array, most)
    assert len(indices) == min(most, len(labels)) == len(set(indices.tolist()))
    chosen = np.bincount(array[indices], minlength=5)
    available = np.bincount(array, minlength=5)
    # No class has two more than another class that is not used up.
    for one in range(5):
        for other in range(5):
            assert chosen[one] <= chosen[other] + 1 or chosen[other] == available[other]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    write_photos(tmp_path / "photos" / "train", 4, seed=1)
    write_photos(tmp_path / "photos" / "test", 3, seed=2)
    recipe = recipes.study_mlp_v21.replace(
        data=tmp_path / "photos", runs=tmp_path / "runs", epochs=1
    )
    return fit(recipe, quiet=True).directory


def test_compares_on_own_photos_a_named_folder_or_rendered_hands(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The number for each class. Fewer here, because drawing a hand takes a third of a second.
    assert inputs._HANDS_TO_MEASURE > 30
    monkeypatch.setattr(inputs, "_HANDS_TO_MEASURE", 6)
    classifier = load(run)
    own = gather(run, classifier, None)
    assert own.origin == "the run's own test photos"
    assert own.pixels.shape == (9, 32, 32) and own.labels is not None
    assert sorted(own.labels[:3]) == [0, 1, 2]
    np.testing.assert_array_equal(classifier.pixels(own.picture(4)), own.pixels[4])

    other = write_photos(tmp_path / "other", 3, seed=3)
    named = gather(run, classifier, other)
    assert named.origin == f"the photos in {other}" and len(named.pixels) == 9
    with pytest.raises(DataError, match="fewer than 8 photos"):
        gather(run, classifier, write_photos(tmp_path / "few", 2))

    (tmp_path / "photos" / "test" / "rock" / "000.png").unlink()
    hands = gather(run, classifier, None)
    assert "rendered hands" in hands.origin and "have changed" in hands.origin
    assert len(hands.pixels) >= 8 and hands.labels is not None
    assert len({row.tobytes() for row in hands.pixels}) == len(hands.pixels)
    assert not np.array_equal(hands.ranges[:3], hands.pixels[:3])
    # To measure an accuracy, a dozen hands are too few.
    many = gather(run, classifier, None, measure_accuracy=True)
    assert len(many.pixels) == len(many.ranges) == 18
    np.testing.assert_array_equal(many.pixels[:12], hands.pixels)
    shutil.rmtree(tmp_path / "photos")
    with pytest.raises(DataError, match="no longer exists"):
        inputs.own_photos(run, classifier)
